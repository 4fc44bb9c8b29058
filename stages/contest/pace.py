"""How many repeats a limit of time leaves room for. No clock here but the one that is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True)
class Pace:
    """`limit` seconds from `started`; 0 is no limit."""

    limit: float
    started: float
    clock: Callable[[], float] = monotonic

    def left(self) -> float:
        """Seconds; less than 0 when the limit has passed."""
        return self.started + self.limit - self.clock() if self.limit else float("inf")

    def repeats(self, asked: int, seconds: float, preparation: float, later: int) -> int:
        """How many rounds a batch may have, the one that took `seconds` and is done among them.

        `later` batches follow, each as slow to prepare and to run as this one, and must have as many: so what a limit
        takes away it takes from every entry, and from all batches alike as far as one can tell beforehand. One round is
        always made.
        """
        left = self.left()
        for rounds in range(asked, 1, -1):
            if (rounds - 1) * seconds + later * (preparation + rounds * seconds) <= left:
                return rounds
        return 1
