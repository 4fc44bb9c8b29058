"""A signal that is heeded when the library has returned."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def late(number: int = signal.SIGTERM) -> Iterator[list[int]]:
    """Hold a signal back: the list is empty until it came. Its own handler runs at the end of the block.

    Python runs handlers when the library next calls back, before the callback's first line, so it could not even catch
    what they raise; TensorRT writes that to stderr and goes on.
    """
    came: list[int] = []
    before = signal.signal(number, lambda said, _frame: came.append(said))
    try:
        yield came
    finally:
        signal.signal(number, before)
        if came:
            signal.raise_signal(number)
