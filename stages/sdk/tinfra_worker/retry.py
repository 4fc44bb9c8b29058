"""Another try at what fails in passing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .fault import Transient

T = TypeVar("T")

LONGEST = 60.0  # seconds; a server that asks for more is left to the scheduler's own retries


def retry(
    attempt: Callable[[], T],
    tries: int = 4,
    first: float = 1.0,
    waiting: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `attempt` until it does not raise :class:`Transient`, `tries` times at most.

    Waits `first`, 2·first, 4·first … seconds between, or what the server asked for by Retry-After where that is longer.
    When it asks for more than LONGEST, or the tries are used up, the last Transient is raised (exit 14).
    """
    for n in range(1, tries + 1):
        try:
            return attempt()
        except Transient as e:
            pause = max(first * 2 ** (n - 1), e.retry_after or 0.0)
            if n == tries or pause > LONGEST:
                raise
            waiting(f"{e.message}; trying again in {pause:g} s")
            sleep(pause)
    raise ValueError("tries must be at least 1")
