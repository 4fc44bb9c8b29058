"""What was timed, and the figures made of it. No engine and no clock here."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median


@dataclass(frozen=True)
class Run:
    """One generation: seconds from token ids to the first new token, seconds of each further step, and the tokens made
    [tokens][batch].
    """

    first: float
    steps: list[float]
    tokens: list[list[int]] = field(repr=False)


def from_stamps(start: float, stamps: list[float], tokens: list[list[int]]) -> Run:
    """A run from its begin and the time at which each step's tokens were there, both in seconds of one clock."""
    return Run(stamps[0] - start, [b - a for a, b in pairwise(stamps)], tokens)


def figures(runs: list[Run], batch: int, prompt: int) -> dict[str, float]:
    """Metrics of the runs that count, by their names in stage.hcl."""
    steps = [s for r in runs for s in r.steps]
    prefill = [batch * prompt / r.first for r in runs]
    decode = [batch * len(r.steps) / sum(r.steps) for r in runs]
    return {
        **spread("prefill_tokens_per_second", prefill),
        **spread("decode_tokens_per_second", decode),
        "first_token_ms": 1e3 * median(r.first for r in runs),
        **{f"token_ms_p{p}": 1e3 * percentile(steps, p) for p in (50, 90, 99)},
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    """The median of the repeats, and the least and greatest beside it."""
    return {name: median(values), f"{name}_low": min(values), f"{name}_high": max(values)}


def percentile(values: list[float], p: float) -> float:
    """By linear interpolation between the two nearest ranks, as numpy's default does."""
    ranked = sorted(values)
    at = (len(ranked) - 1) * p / 100
    low = int(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (at - low)
