"""All who take part at one batch size, in turn: warm-up of all, then rounds in each of which everyone runs once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from contest.asked import Asked
from contest.entrant import Entrant, full
from contest.pace import Cost, Pace, total
from lib.gpu import memory
from lib.gpu.meter import Meter, Reading
from lib.llm.decoder import Unfit
from lib.speed.agreement import Expected
from lib.speed.samples import Run
from tinfra_worker import Job

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


@dataclass
class Heat:
    """What came of one batch size. `out` are those who could not run it, by name, with the reason; nothing else is kept
    of them. `peaks` are bytes of the GPU, weights included, each measured while nobody else ran.
    """

    batch: int
    seconds: float = 0.0
    preparation: float = 0.0  # seconds of opening and warm-up
    costs: dict[str, Cost] = field(default_factory=dict)  # of each that ran, in its first round
    order: list[list[str]] = field(default_factory=list)
    warm: dict[str, list[Run]] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)

    def drop(self, name: str, why: str) -> None:
        self.out[name] = why
        for kept in (self.warm, self.runs, self.readings, self.peaks, self.costs):
            kept.pop(name, None)


class Heats:
    """Runs one batch size after the other."""

    def __init__(self, job: Job, asked: Asked, meter: Meter, pace: Pace, vocabulary: int) -> None:
        self._job, self._asked, self._meter, self._pace = job, asked, meter, pace
        self._vocabulary = vocabulary

    def prompt(self, batch: int) -> np.ndarray:
        """Token ids, int64 [batch, prompt], drawn evenly from what every model's vocabulary has."""
        import numpy as np

        generator = np.random.Generator(np.random.PCG64(self._asked.seed))  # the same on every machine
        return generator.integers(0, self._vocabulary, (batch, self._asked.prompt), dtype=np.int64)

    def run(self, batch: int, entrants: list[Entrant], later: Sequence[Sequence[Entrant]]) -> Heat:
        """One batch size; `later` are those who take part in each of the batches to come."""
        clock = self._pace.clock
        heat, begin = Heat(batch), clock()
        ids = self.prompt(batch)
        expected: dict[str, Expected] = {}
        for one in entrants:
            self._job.progress(len(expected), len(entrants), "entries", f"warming up, batch {batch}")
            begun = clock()
            if (wants := self._attempt(heat, one, partial(self._prepare, heat, one, ids))) is not None:
                expected[one.entry.name] = wants
                heat.costs[one.entry.name] = Cost(clock() - begun, 0)
        heat.preparation = clock() - begin
        rounds, done = self._asked.repeats, 0
        while done < rounds and expected:
            self._job.progress(done, rounds, "rounds", f"batch {batch}")
            begun = clock()
            self._round(heat, [e for e in entrants if e.entry.name in expected], ids, expected, done)
            expected = {name: wants for name, wants in expected.items() if name not in heat.out}
            done += 1
            if done == 1:
                costs = [total(heat.costs, [e.entry.name for e in taking]) for taking in later]
                rounds = self._pace.repeats(rounds, clock() - begun, costs)
        self._job.progress(done, done, "rounds", f"batch {batch}")
        heat.seconds = clock() - begin
        return heat

    def _round(
        self, heat: Heat, entrants: list[Entrant], ids: np.ndarray, expected: dict[str, Expected], done: int
    ) -> None:
        """Everyone once; who was second in the last round is first in this one."""
        at = done % len(entrants)
        turn = entrants[at:] + entrants[:at]
        heat.order.append([one.entry.name for one in turn])
        for one in turn:
            name = one.entry.name
            run = partial(self._generate, one, ids, expected[name])
            begun = self._pace.clock()
            made = self._attempt(heat, one, partial(self._meter.measure, run))
            if made is not None:
                heat.costs[name] = replace(heat.costs[name], seconds=self._pace.clock() - begun)
                heat.runs.setdefault(name, []).append(made[0])
                heat.readings.setdefault(name, []).append(made[1])

    def _prepare(self, heat: Heat, one: Entrant, ids: np.ndarray) -> Expected:
        """Open the shape and run it `warmup` times; what is compiled is compiled then."""
        one.open(heat.batch, self._asked.length)
        logits = one.counted(partial(one.first_logits, ids))
        wants = Expected(logits, one.subject.ends, self._asked.tokens, one.approximate)
        heat.warm[one.entry.name] = one.counted(partial(self._warm_up, heat, one, ids, wants))
        return wants

    def _warm_up(self, heat: Heat, one: Entrant, ids: np.ndarray, wants: Expected) -> list[Run]:
        free = memory.free(one.decoder.device)
        runs = [self._generate(one, ids, wants) for _ in range(self._asked.warmup)]
        peak = one.peak(free, memory.left(one.decoder.device))
        if peak is not None:
            heat.peaks[one.entry.name] = peak
        return runs

    def _generate(self, one: Entrant, ids: np.ndarray, wants: Expected) -> Run:
        bar = torch.tensor(sorted(one.subject.ends), dtype=torch.int64)
        made = one.decoder.generate(torch.from_numpy(ids), self._asked.tokens, bar)
        run = Run(made.first_seconds, list(made.step_seconds), made.tokens.T.tolist())
        wants.check(run, one.entry.name)
        return run

    def _attempt(self, heat: Heat, one: Entrant, act: Callable[[], T]) -> T | None:
        """What `act` gives; None where this batch is too much for the entry, which then is out of the heat."""
        try:
            return act()
        except Unfit as e:
            why = f"unfit: {e}"
        except Exception as e:
            found = full(e)
            if found is None:
                raise
            why = found
        one.shape = (0, 0)
        memory.free(one.decoder.device)
        heat.drop(one.entry.name, why)
        self._job.log(f"{one.entry.name} is out at batch {heat.batch}: {why}", "warning")
        return None
