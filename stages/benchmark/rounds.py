"""The runs of a benchmark, one after the other, each checked to be what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import machine, reference
from benchmark.asked import Asked
from benchmark.engine import Engine
from benchmark.samples import Run
from tinfra_worker import Job

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Rounds:
    """A loaded engine, the prompt, int64 [batch, prompt], and its logits after that, float32 [batch, vocabulary]."""

    engine: Engine
    prompt: np.ndarray
    asked: Asked
    first: np.ndarray
    approximate: bool

    def measure(self, job: Job) -> tuple[list[Run], list[Run], dict[str, float]]:
        """Warm-up runs, runs that count, and the cores that others used during the latter."""
        total, runs = self.asked.warmup + self.asked.repeats, []
        meter = machine.read_meter()
        for done in range(total):
            if done == self.asked.warmup:
                meter = machine.read_meter()
            job.progress(done, total, "runs", "generating")
            runs.append(self.engine.run(self.prompt, self.asked.tokens))
            self.check(runs[-1])
        during = machine.others(meter, machine.read_meter())
        job.progress(total, total, "runs", "generating")
        if during["others"] > machine.QUIET:
            job.log(f"others used {during['others']} cores during the runs; the figures have suffered", "warning")
        if any(r.tokens != runs[0].tokens for r in runs):
            job.log("the runs did not all choose the same tokens", "warning")
        return runs[: self.asked.warmup], runs[self.asked.warmup :], during

    def check(self, made: Run) -> None:
        """As many tokens as asked, none that ends a text, and the first ones as the engine's own logits say."""
        import numpy as np

        who = self.engine.name
        steps, widths = len(made.tokens), {len(row) for row in made.tokens}
        if steps != self.asked.tokens or widths != {self.asked.batch} or len(made.steps) != steps - 1:
            raise RuntimeError(f"{who} made {steps} steps of {widths}, not {self.asked.tokens} of {self.asked.batch}")
        if ends := self.engine.ends.intersection(t for row in made.tokens for t in row):
            raise RuntimeError(f"{who} chose {sorted(ends)}, which end a text and were barred")
        allowed = self.first.copy()
        allowed[:, [t for t in self.engine.ends if t < allowed.shape[1]]] = self.first.min()
        reference.check_choice(allowed, np.asarray(made.tokens[0]), self.approximate, "its own first logits")
