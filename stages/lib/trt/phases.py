"""What a build was at, one phase inside another, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

LEAST = 0.5  # seconds of a phase that is shown by itself


@dataclass
class Phase:
    """`begun` is of time.monotonic; `seconds` what it took, or took before the build broke off."""

    name: str
    begun: float
    seconds: float = 0.0
    within: list[Phase] = field(default_factory=list)


class Phases:
    """Told of each phase as the library begins and ends it. Those that run at one time have different names."""

    def __init__(self) -> None:
        self.outer: list[Phase] = []
        self._open: dict[str, Phase] = {}

    def begin(self, name: str, parent: str | None) -> None:
        above = self._open.get(parent or "")
        made = self._open[name] = Phase(name, time.monotonic())
        (above.within if above else self.outer).append(made)

    def end(self, name: str) -> None:
        if (ended := self._open.pop(name, None)) is not None:
            ended.seconds = time.monotonic() - ended.begun


def show(phases: Iterable[Phase], began: float) -> list[str]:
    """A line for each phase of LEAST seconds or more: when after `began` it began, what it took, its name under that
    which it is part of. Shorter ones are added up.
    """
    return list(_lines(list(phases), began, ""))


def _lines(phases: list[Phase], began: float, indent: str) -> Iterable[str]:
    for phase in phases:
        if phase.seconds >= LEAST:
            yield f"{phase.begun - began:8.1f} s {phase.seconds:8.1f} s  {indent}{phase.name}"
            yield from _lines(phase.within, began, indent + "  ")
    short = [phase for phase in phases if phase.seconds < LEAST]
    if (total := sum(phase.seconds for phase in short)) >= LEAST:
        yield f"{short[0].begun - began:8.1f} s {total:8.1f} s  {indent}{len(short)} shorter ones"
