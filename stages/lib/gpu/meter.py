"""What a GPU did and used during single runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from lib.gpu.device import Device, Sample
from lib.gpu.energy import Joules, spent, total
from lib.gpu.watch import Watch, summary

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """Of one run; nothing of all this where no GPU, or no driver, tells."""

    joules: Joules | None
    samples: list[Sample]


@dataclass(frozen=True)
class Meter:
    """`watch` samples the same device, and is running."""

    device: Device | None
    watch: Watch

    def measure(self, run: Callable[[], T]) -> tuple[T, Reading]:
        """Call `run`, which returns when the GPU has done all of it."""
        start, before = perf_counter(), self._joules()
        made = run()
        after, end = self._joules(), perf_counter()
        samples = self.watch.between(start, end)
        return made, Reading(spent(before, after, end - start, samples), samples)

    def _joules(self) -> float | None:
        return None if self.device is None else self.device.joules()


def told(readings: list[Reading]) -> dict[str, Any]:
    """What a result keeps of several runs: clocks, heat, what slowed them, and the joules of all."""
    out = summary([s for r in readings for s in r.samples])
    joules = total([r.joules for r in readings])
    return out if joules is None else out | {"joules": joules.value, "joules_are": joules.how}
