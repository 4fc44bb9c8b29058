"""The proof that the model to be benchmarked was measured before."""

from __future__ import annotations

from typing import Any

from benchmark.asked import read_object
from tinfra_worker import BadInput, Job

# Which file of a result names, as "model", the digest of the model that it is about.
_NAMED_IN = {"result/check": "check.json", "result/perplexity": "measured.json"}


def check_proof(job: Job) -> None:
    """:class:`BadInput` unless the result given as `verified` is about the very model of input `model`."""
    proof, model = job.input_info("verified"), job.input_info("model").digest
    name = _NAMED_IN.get(proof.type)
    if name is None:
        raise BadInput("verified", f"a {proof.type} proves nothing of a model; {' or '.join(_NAMED_IN)} does")
    of = read_object(job, "verified", name).get("model")
    if of != model:
        raise BadInput(
            "verified",
            f"the {proof.type} is of another model: {name} names {short(of)}, and the model is {short(model)}",
            "give it the result of a stage whose model is this one's",
        )


def short(digest: Any) -> str:
    """Enough of a digest for `tinfra show` to find it."""
    return digest[:19] if isinstance(digest, str) else "none"
