"""Perplexity of a causal LM on a text, with the protocol that makes two of them comparable."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from lib.llm.checkpoint import check_model, load_model
from lib.llm.text import encode, load_tokenizer, read_text
from tinfra_worker import BadInput, BadParam, Job, run

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


def main(job: Job) -> None:
    protocol = make_protocol(job)
    check_model(job, "model")
    ids = encode(load_tokenizer(job, "tokenizer"), read_text(job, "text"))[: protocol["max_tokens"]]
    if len(ids) < 2:
        raise BadInput("text", f"the text has {len(ids)} tokens; 2 are needed to score one")
    if len(ids) < protocol["max_tokens"]:
        job.log(f"the text has {len(ids)} tokens only; all are used")
    job.log("loading the model")
    model = load_model(job, "model", protocol["dtype"], **read_plainly(job))
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if ids.max() >= vocabulary:
        raise BadInput("tokenizer", f"token {ids.max()} is beyond the model's vocabulary of {vocabulary}")
    nll, position = score(job, model, ids, protocol["window"], protocol["stride"])
    write(job, nll, position, protocol)


def make_protocol(job: Job) -> dict[str, Any]:
    """All that decides the number besides the model. Values are JSON; see :func:`canonical`."""
    window, stride = job.param("window", int), job.param("stride", int)
    if stride > window:
        raise BadParam("stride", f"stride is {stride}, more than window, {window}: tokens between would not be scored")
    return {
        "bos": "none",
        "dataset": job.input_info("text").digest,
        "dtype": job.param("dtype", str),
        "engine": "transformers",
        "max_tokens": job.param("max_tokens", int),
        "stride": stride,
        "tokenizer": job.input_info("tokenizer").digest,
        "window": window,
    }


def canonical(protocol: dict[str, Any]) -> str:
    """One spelling: keys sorted, no blanks (RFC 8785 for strings and whole numbers, and there is nothing else)."""
    return json.dumps(protocol, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_plainly(job: Job) -> dict[str, Any]:
    """Have weight-only checkpoints unpacked once, on loading: the same numbers as unpacking in each pass, in less time.

    Where activations are quantized too, they must stay so in every pass, and the checkpoint is left as it is.
    """
    from transformers import CompressedTensorsConfig

    found = check_model(job, "model").get("quantization_config") or {}
    groups = found.get("config_groups") or {}
    if found.get("quant_method") != "compressed-tensors" or any(g.get("input_activations") for g in groups.values()):
        return {}
    return {"quantization_config": CompressedTensorsConfig(dequantize=True)}


def score(job: Job, model: PreTrainedModel, ids: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Negative log likelihoods in nats, float32 [scored], and the position of each scored token, int64 [scored].

    A window's first token has nothing before it and is not scored by that window; a token that an earlier window scored
    is not scored again.
    """
    import numpy as np
    import torch

    values, positions = [], []
    total, scored_to = len(ids), 1
    job.progress(0, total, "tokens", "scoring")
    with torch.inference_mode():
        for begin in range(0, total - 1, stride):
            end = min(begin + window, total)
            part = torch.from_numpy(ids[begin:end]).to(model.device)
            logits = model(part[None], use_cache=False).logits[0, :-1].float()
            each = torch.nn.functional.cross_entropy(logits, part[1:], reduction="none").cpu().numpy()
            first = max(scored_to, begin + 1)
            values.append(each[first - begin - 1 :])
            positions.append(np.arange(first, end, dtype=np.int64))
            scored_to = end
            job.progress(end, total, "tokens", "scoring")
            if end == total:
                break
    return np.concatenate(values), np.concatenate(positions)


def write(job: Job, nll: np.ndarray, position: np.ndarray, protocol: dict[str, Any]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    mean = float(np.mean(nll, dtype=np.float64))
    job.metric("nll", mean)
    job.metric("perplexity", math.exp(mean) if mean < 700 else math.inf)
    job.metric("tokens", len(nll))
    text = canonical(protocol)
    out = job.output("result")
    save_file({"nll": nll, "position": position}, out / "nll.safetensors")
    (out / "protocol.json").write_text(text, encoding="utf-8")
    job.label("protocol", hashlib.sha256(text.encode()).hexdigest())
    job.observe("protocol", text)


if __name__ == "__main__":
    run(main)
