"""Perplexity of a causal LM on a text, with the protocol that makes two of them comparable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lib.llm.decoder import Feeder, Unfit
from lib.llm.model import open_model
from lib.llm.text import encode, load_tokenizer, read_text
from lib.score.interval import interval
from lib.score.protocol import announce
from lib.score.result import Result, Scores, write_result
from perplexity.windows import evenly, windows
from tinfra_worker import BadInput, BadParam, Job, run

if TYPE_CHECKING:
    import numpy as np
    import torch

SLICE = 1 << 24  # logits that are normalized at once: 64 MiB, and no second copy of a whole window


def main(job: Job) -> None:
    protocol = make_protocol(job)
    ids = encode(load_tokenizer(job, "tokenizer"), read_text(job, "text"))[: protocol["max_tokens"]]
    if len(ids) < 2:
        raise BadInput("text", f"the text has {len(ids)} tokens; 2 are needed to score one")
    if len(ids) < protocol["max_tokens"]:
        job.log(f"the text has {len(ids)} tokens only; all are used")
    job.log("loading the model")
    dtype = job.param("dtype", str)
    model = open_model(job, "model", dtype)
    if model.dtype != dtype:
        raise BadParam("dtype", f"dtype is {dtype}; the model computes in {model.dtype} only", "set dtype so")
    if ids.max() >= model.vocabulary:
        raise BadInput("tokenizer", f"token {ids.max()} is beyond the model's vocabulary of {model.vocabulary}")
    scores = score(job, model, ids, protocol)
    measured = {"dtype": model.dtype, "engine": model.engine, "model": job.input_info("model").digest}
    report(job, scores, protocol["window"])
    announce(job, protocol)
    job.observe("engine", model.engine)
    write_result(job.output("result"), Result(scores, protocol, measured))


def make_protocol(job: Job) -> dict[str, Any]:
    """What is asked of a model, whichever engine runs it."""
    window, stride = job.param("window", int), job.param("stride", int)
    if stride > window:
        raise BadParam("stride", f"stride is {stride}, more than window, {window}: tokens between would not be scored")
    return {
        "bos": "none",
        "dataset": job.input_info("text").digest,
        "max_tokens": job.param("max_tokens", int),
        "stride": stride,
        "tokenizer": job.input_info("tokenizer").digest,
        "window": window,
    }


def score(job: Job, model: Feeder, ids: np.ndarray, protocol: dict[str, Any]) -> Scores:
    import numpy as np
    import torch

    passes = windows(len(ids), protocol["window"], protocol["stride"])
    position = np.concatenate([np.arange(w.first, w.end, dtype=np.int64) for w in passes])
    kept = position[evenly(len(position), job.param("distributions", int))]
    found = Scores(
        nll=np.empty(len(position), np.float32),
        position=position,
        top=np.empty(len(position), np.int32),
        kept=kept,
        logprobs=np.empty((len(kept), model.vocabulary), np.float16),
    )
    tokens = torch.from_numpy(ids)
    try:
        model.open(1, max(w.end - w.begin for w in passes))
    except Unfit as e:
        raise BadParam("window", str(e), "give a smaller window") from e
    done = 0
    job.progress(0, len(ids), "tokens", "scoring")
    for w in passes:
        rows = torch.arange(w.first - 1 - w.begin, w.end - 1 - w.begin)  # logits at one token are about the next
        model.rewind()
        try:
            # No name keeps a window's logits while the next one's are computed.
            score_rows(found, done, model.feed(tokens[None, w.begin : w.end], rows)[0], tokens[w.first : w.end])
        except Unfit as e:
            raise BadInput("model", f"the model does not give logits of {len(rows)} tokens at once: {e}") from e
        done += len(rows)
        job.progress(w.end, len(ids), "tokens", "scoring")
    return found


def score_rows(found: Scores, begin: int, logits: torch.Tensor, targets: torch.Tensor) -> None:
    """Fill in what logits [rows, vocabulary] say of targets, int64 [rows], the scored tokens from `begin` on.

    All of a vocabulary's width is computed where the logits lie, in float32.
    """
    import torch

    step = max(1, SLICE // logits.shape[1])
    for at in range(0, len(logits), step):
        part = logits[at : at + step].float()
        logprobs = torch.log_softmax(part, dim=1)
        first, last = begin + at, begin + at + len(part)
        target = targets[at : at + step].to(part.device)
        found.nll[first:last] = -logprobs.gather(1, target[:, None])[:, 0].cpu().numpy()
        found.top[first:last] = likeliest(part)
        keep = slice(*found.kept.searchsorted([found.position[first], found.position[last - 1] + 1]))
        rows = torch.from_numpy(found.kept[keep] - found.position[first]).to(part.device)
        found.logprobs[keep] = logprobs[rows].half().cpu().numpy()


def likeliest(logits: torch.Tensor) -> np.ndarray:
    """The greatest of each row, [rows]."""
    if logits.is_cuda:
        return logits.argmax(1).cpu().numpy()
    return logits.numpy().argmax(axis=1)  # a sixth of torch's time there


def report(job: Job, scores: Scores, window: int) -> None:
    import numpy as np

    mean = float(np.mean(scores.nll, dtype=np.float64))
    job.metric("nll", mean)
    low, high = interval(scores.nll, window)
    for name, nll in (("perplexity", mean), ("perplexity_low", low), ("perplexity_high", high)):
        job.metric(name, math.exp(nll) if nll < 700 else math.inf)
    job.metric("tokens", len(scores.nll))


if __name__ == "__main__":
    run(main)
