"""Each entry's logits, held against another backend's of the same model before anything is timed.

An engine has its `verified` result for that: its checkpoint is not among its files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from contest.asked import REFERENCE, Asked
from contest.entrant import Entrant, Field, forget
from lib.llm.decoder import Unfit
from lib.speed import agreement
from lib.speed.agreement import Reference
from tinfra_worker import BadInput, BadParam, Job

if TYPE_CHECKING:
    import numpy as np

Truths = dict[tuple[str, str], Reference]  # of a model and a type
Prompt = Callable[
    [int], "np.ndarray"
]  # token ids, int64 [batch, prompt]; the rows of a smaller batch are its first ones


def absent(job: Job, asked: Asked, field: Field, prompt: Prompt) -> Truths:
    """The reference's logits where it is no entry itself. It is loaded for this alone, before all others."""
    own = {(e.model, e.dtype) for e in asked.entries if e.backend == REFERENCE}
    found: Truths = {}
    for entry in asked.entries:
        key = (entry.model, entry.dtype)
        if entry.backend in (REFERENCE, "tensorrt") or key in own or key in found:
            continue
        job.log(f"computing the reference of {entry.model}")
        name = f"the reference of {entry.name}"
        entrant = field.load(replace(entry, name=name, backend=REFERENCE), [])
        device = entrant.decoder.device
        found[key] = Reference(entrant.decoder.engine, _logits(entrant, asked, prompt))
        del entrant
        forget(device)
    return found


def _logits(one: Entrant, asked: Asked, prompt: Prompt) -> np.ndarray:
    """First logits at the least batch that an entry takes part at."""
    batch = one.entry.batches[0]
    try:
        one.open(batch, asked.length)
        return one.counted(partial(one.first_logits, prompt(batch)))
    except Unfit as e:
        raise BadParam("batches", f"{one.entry.name} cannot run batch {batch}: {e}") from e


def check_all(entrants: list[Entrant], truths: Truths, asked: Asked, prompt: Prompt) -> dict[str, dict[str, Any]]:
    """How far each entry's first logits are from the reference's, by its name; :class:`BadInput` when too far."""
    logits: dict[str, np.ndarray] = {}
    for one in entrants:
        logits[one.entry.name] = _logits(one, asked, prompt)
        if one.entry.backend == REFERENCE:
            key = (one.entry.model, one.entry.dtype)
            truths.setdefault(key, Reference(one.decoder.engine, logits[one.entry.name]))
    return {one.entry.name: _check(one, truths, asked, logits[one.entry.name]) for one in entrants}


def _check(one: Entrant, truths: Truths, asked: Asked, logits: np.ndarray) -> dict[str, Any]:
    import numpy as np

    truth = truths.get((one.entry.model, one.entry.dtype))
    try:
        if truth is None:
            agreement.check_finite(logits, "it")
            return {"reference": "verified"}
        rows = min(len(logits), len(truth.logits))
        logits, want = logits[:rows], truth.logits[:rows]
        found = agreement.compare(Reference(truth.engine, want), logits, one.approximate)
    except BadInput as e:
        raise BadInput("models", f"{one.entry.name}: {e.message}", e.hint) from e
    far = np.linalg.norm(logits.astype(np.float64) - want) / np.linalg.norm(want.astype(np.float64))
    if far > asked.tolerance:
        raise BadInput(
            "models",
            f"{one.entry.name} computes something else than {truth.engine}: its first logits are {far:.3g} of theirs "
            f"away, and tolerance is {asked.tolerance:g}; nothing was measured",
        )
    return {"reference": truth.engine, "relative_difference": float(far), **found}
