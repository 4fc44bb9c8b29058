"""Throughput at its end: the batch doubles until it gains no more, or memory is full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from contest.asked import Asked
from contest.entrant import Entrant
from contest.heat import Heat
from contest.pace import Pace

BACKENDS = ("steady", "humming", "tensorrt")  # those whose step takes no work of the host's
GAIN = 1.05  # what a doubled batch must bring to be worth another


@dataclass
class End:
    """Where one entry stands: its best batch, what that gives, in tokens a second, and why there is no more of it."""

    batch: int
    tokens_per_second: float
    ended: str = ""


def saturate(
    asked: Asked, entrants: list[Entrant], heats: list[Heat], pace: Pace, run: Callable[[int, list[Entrant]], Heat]
) -> dict[str, dict[str, Any]]:
    """Double from the largest batch that was asked for; `heats` gets the new ones behind what it has."""
    last = heats[-1]
    racing = [e for e in entrants if e.entry.backend in BACKENDS and e.entry.name in last.runs]
    ends = {e.entry.name: End(last.batch, rate(last, e.entry.name)) for e in racing}
    batch = last.batch
    while racing:
        batch *= 2
        stop = ""
        if batch > asked.saturation:
            stop = f"batches end at {asked.saturation}"
        elif pace.left() < heats[-1].seconds:
            stop = f"limit_seconds = {asked.limit_seconds:g}"
        if stop:
            for one in racing:
                ends[one.entry.name].ended = stop
            break
        heats.append(run(batch, racing))
        racing = [e for e in racing if _goes_on(ends[e.entry.name], heats[-1], e.entry.name)]
    return {name: asdict(end) for name, end in ends.items()}


def _goes_on(end: End, heat: Heat, name: str) -> bool:
    if name in heat.out:
        end.ended = heat.out[name]
        return False
    now, before = rate(heat, name), end.tokens_per_second
    if now > before:
        end.batch, end.tokens_per_second = heat.batch, now
    if now < GAIN * before:
        end.ended = f"twice the batch brings {100 * (now / before - 1):.1f} %"
        return False
    return True


def rate(heat: Heat, name: str) -> float:
    """Tokens a second from the first new token on, median of the repeats."""
    return median(heat.batch * len(r.steps) / sum(r.steps) for r in heat.runs[name])
