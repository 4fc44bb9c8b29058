"""Joules that a GPU used in a time."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from lib.gpu.device import Sample


@dataclass(frozen=True)
class Joules:
    """`how` is "counted", by the GPU itself, or "estimated", mean power × time."""

    value: float
    how: str


def spent(before: float | None, after: float | None, seconds: float, samples: list[Sample]) -> Joules | None:
    """Energy between two readings of the GPU's own counter, in joules; None where nothing tells.

    Without a counter, or in a time too short for it to move, power samples must do. They are means of the time before
    them themselves, so a short run says what ran before it too: hence "estimated".
    """
    if before is not None and after is not None and after > before:
        return Joules(after - before, "counted")
    watts = [s.watts for s in samples if s.watts is not None]
    return Joules(fmean(watts) * seconds, "estimated") if watts else None


def total(runs: list[Joules | None]) -> Joules | None:
    """The sum over runs; estimated as soon as one is, None as soon as one is."""
    known = [r for r in runs if r is not None]
    if not known or len(known) < len(runs):
        return None
    how = "counted" if all(r.how == "counted" for r in known) else "estimated"
    return Joules(sum(r.value for r in known), how)
