"""The runs of a benchmark, one after the other, each checked to be what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmark.asked import Asked
from benchmark.engine import Engine
from lib.gpu.meter import Meter, Reading
from lib.speed import machine
from lib.speed.agreement import Expected
from lib.speed.samples import Run
from tinfra_worker import Job

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Measured:
    """Warm-up runs, runs that count with what the GPU did in each, and the cores that others used during the latter."""

    warm: list[Run]
    runs: list[Run]
    readings: list[Reading]
    during: dict[str, float]


@dataclass(frozen=True)
class Rounds:
    """A loaded engine, the prompt, int64 [batch, prompt], and what every run after it must be."""

    engine: Engine
    prompt: np.ndarray
    asked: Asked
    expected: Expected

    def measure(self, job: Job, gpu: Meter) -> Measured:
        warmup, total = self.asked.warmup, self.asked.warmup + self.asked.repeats
        runs, readings, meter = [], [], machine.read_meter()
        for done in range(total):
            if done == warmup:
                meter = machine.read_meter()
            job.progress(done, total, "runs", "generating")
            run, reading = gpu.measure(partial(self.engine.run, self.prompt, self.asked.tokens))
            runs.append(run)
            readings.append(reading)
            self.expected.check(run, self.engine.name)
        during = machine.others(meter, machine.read_meter())
        job.progress(total, total, "runs", "generating")
        if during["others"] > machine.QUIET:
            job.log(f"others used {during['others']} cores during the runs; the figures have suffered", "warning")
        if any(r.tokens != runs[0].tokens for r in runs):
            job.log("the runs did not all choose the same tokens", "warning")
        return Measured(runs[:warmup], runs[warmup:], readings[warmup:], during)
