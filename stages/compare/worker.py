"""What one model loses against another on the same tokens, told from chance."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compare.divergence import divergence
from lib.score.interval import interval
from lib.score.protocol import announce, differences
from lib.score.result import Result, read_result
from tinfra_worker import BadInput, Job, run

if TYPE_CHECKING:
    import numpy as np

SLICE = 1 << 22  # probabilities that are compared at once, a few copies of them in float64


@dataclass
class Paired:
    """Candidate against baseline, token by token.

    The difference of negative log likelihoods in nats and whether both hold the same token likeliest, [scored]; and of
    the tokens whose distributions are kept, KL(baseline‖candidate) in nats, [kept].
    """

    difference: np.ndarray
    same_top1: np.ndarray
    kl: np.ndarray


def main(job: Job) -> None:
    import numpy as np

    baseline, candidate = read_result(job, "baseline"), read_result(job, "candidate")
    check_comparable(baseline, candidate)
    one, two = baseline.scores, candidate.scores
    found = Paired(
        difference=two.nll.astype(np.float64) - one.nll,
        same_top1=one.top == two.top,
        kl=divergences(job, one.logprobs, two.logprobs),
    )
    metrics = measure(found, one.nll, two.nll, baseline.protocol["window"])
    for name, value in metrics.items():
        job.metric(name, value)
    announce(job, baseline.protocol)
    write(job, found, metrics, baseline, candidate)


def check_comparable(baseline: Result, candidate: Result) -> None:
    if found := differences(baseline.protocol, candidate.protocol):
        raise BadInput(
            "candidate",
            f"baseline and candidate were measured differently: {found}",
            "give both perplexity stages the same text, tokenizer, window, stride and max_tokens",
        )
    one, two = baseline.scores, candidate.scores
    if one.logprobs.shape[1] != two.logprobs.shape[1]:
        raise BadInput(
            "candidate",
            f"the vocabularies have {one.logprobs.shape[1]} and {two.logprobs.shape[1]} tokens",
            "compare a model with what was made of it",
        )
    if one.position.tolist() != two.position.tolist():
        raise BadInput("candidate", "baseline and candidate scored other tokens, though they say the same protocol")
    if one.kept.tolist() != two.kept.tolist():
        raise BadInput(
            "candidate",
            f"{len(one.kept)} and {len(two.kept)} distributions were kept, of other tokens",
            "give both perplexity stages the same distributions",
        )


def divergences(job: Job, baseline: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    import numpy as np

    rows, vocabulary = baseline.shape
    step = max(1, SLICE // vocabulary)
    found = np.empty(rows)
    for at in range(0, rows, step):
        found[at : at + step] = divergence(baseline[at : at + step], candidate[at : at + step])
        job.progress(min(at + step, rows), rows, "distributions", "comparing")
    return found


def measure(found: Paired, baseline: np.ndarray, candidate: np.ndarray, window: int) -> dict[str, float]:
    """The metrics of stage.hcl; baseline and candidate are negative log likelihoods in nats, [scored]."""
    import numpy as np

    mean = float(found.difference.mean())
    low, high = interval(found.difference, window)
    one, two = (float(np.mean(nll, dtype=np.float64)) for nll in (baseline, candidate))
    return {
        "nll_difference": mean,
        "nll_difference_low": low,
        "nll_difference_high": high,
        "perplexity_ratio": math.exp(mean),
        "perplexity_difference": math.exp(two) - math.exp(one),
        "kl_mean": float(found.kl.mean()),
        "kl_p99": float(np.quantile(found.kl, 0.99)),
        "same_top1": float(found.same_top1.mean()),
        "tokens": len(found.difference),
    }


def write(job: Job, found: Paired, metrics: dict[str, float], baseline: Result, candidate: Result) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    out = job.output("result")
    tensors = {
        "difference": found.difference.astype(np.float32),
        "same_top1": found.same_top1,
        "position": baseline.scores.position,
        "kl": found.kl.astype(np.float32),
        "kl_position": baseline.scores.kept,
    }
    save_file(tensors, out / "differences.safetensors")
    said = {
        "baseline": baseline.measured,
        "candidate": candidate.measured,
        "metrics": metrics,
        "protocol": baseline.protocol,
    }
    text = json.dumps(said, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "compare.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
