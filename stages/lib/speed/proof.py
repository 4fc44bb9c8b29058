"""The proof that a model to be timed was measured before."""

from __future__ import annotations

from typing import Any

from lib.speed.subject import read_object
from tinfra_worker import BadInput, Job

# Which file of a result names the digest of the model that it is about, and under which keys.
_NAMED_IN = {
    "result/check": ("check.json", ("model",)),
    "result/perplexity": ("measured.json", ("model",)),
    "result/compare": ("compare.json", ("candidate", "model")),
}


def check_proof(job: Job, model: str = "model", verified: str = "verified") -> dict[str, Any]:
    """What the result of input `verified` says; :class:`BadInput` unless it is about the very model of `model`."""
    proof, digest = job.input_info(verified), job.input_info(model).digest
    if proof.type not in _NAMED_IN:
        raise BadInput(verified, f"a {proof.type} proves nothing of a model; {' or '.join(_NAMED_IN)} does")
    name, keys = _NAMED_IN[proof.type]
    said = read_object(job, verified, name)
    of: Any = said
    for key in keys:
        of = of.get(key) if isinstance(of, dict) else None
    if of != digest:
        raise BadInput(
            verified,
            f"the {proof.type} is of another model: {name} names {short(of)}, and the model is {short(digest)}",
            "give it the result of a stage whose model is this one's",
        )
    return said


def short(digest: Any) -> str:
    """Enough of a digest for `tinfra show` to find it."""
    return digest[:19] if isinstance(digest, str) else "none"
