"""How many repeats a limit of time leaves room for. No clock here but the one that is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True)
class Cost:
    """Seconds that a batch size takes: to open and warm up, and for one round."""

    preparation: float
    seconds: float


def total(known: Mapping[str, Cost], names: Iterable[str]) -> Cost:
    """What `names` cost together, by what each cost at another batch; one that is not known costs as all on average."""
    count = max(len(known), 1)
    mean = Cost(*(sum(getattr(c, of) for c in known.values()) / count for of in ("preparation", "seconds")))
    found = [known.get(name, mean) for name in names]
    return Cost(sum(c.preparation for c in found), sum(c.seconds for c in found))


@dataclass(frozen=True)
class Pace:
    """`limit` seconds from `started`; 0 is no limit."""

    limit: float
    started: float
    clock: Callable[[], float] = monotonic

    def left(self) -> float:
        """Seconds; less than 0 when the limit has passed."""
        return self.started + self.limit - self.clock() if self.limit else float("inf")

    def repeats(self, asked: int, seconds: float, later: Sequence[Cost]) -> int:
        """How many rounds a batch may have, the one that took `seconds` and is done among them.

        The batches of `later` follow and must have as many: so what a limit takes away it takes from every entry, and
        from all batches alike as far as one can tell beforehand. One round is always made.
        """
        left = self.left()
        for rounds in range(asked, 1, -1):
            if (rounds - 1) * seconds + sum(one.preparation + rounds * one.seconds for one in later) <= left:
                return rounds
        return 1
