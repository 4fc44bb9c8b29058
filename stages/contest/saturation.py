"""Throughput at its end: the batch doubles until it gains no more, or memory is full."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from contest.asked import Asked
from contest.entrant import Entrant
from contest.heat import Heat
from contest.pace import Pace
from lib.gpu import memory

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
    while racing:
        racing = [e for e in racing if _may_go_on(ends[e.entry.name], asked, pace, heats[-1], e)]
        if not racing:
            break
        try:
            heats.append(run(2 * heats[-1].batch, racing))
        except Exception as e:
            # At the limits of a GPU more goes wrong than memory; the figures of the batches asked for stand.
            traceback.print_exc()
            for one in racing:
                ends[one.entry.name].ended = f"error at batch {2 * heats[-1].batch}: {type(e).__name__}: {e}"
            break
        racing = [e for e in racing if _goes_on(ends[e.entry.name], heats[-1], e.entry.name)]
    return {name: asdict(end) for name, end in ends.items()}


def _may_go_on(end: End, asked: Asked, pace: Pace, heat: Heat, one: Entrant) -> bool:
    """Whether size, time and memory let the batch be doubled once more."""
    if 2 * heat.batch > asked.saturation:
        end.ended = f"batches end at {asked.saturation}"
    elif pace.left() < heat.seconds:
        end.ended = f"limit_seconds = {asked.limit_seconds:g}"
    elif not one.has_room(heat.peaks.get(one.entry.name), memory.free(one.decoder.device)):
        end.ended = f"memory has no room for batch {2 * heat.batch}"
    return not end.ended


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
