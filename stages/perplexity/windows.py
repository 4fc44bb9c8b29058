"""Which tokens each pass through the model scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Window:
    """Tokens [begin, end) go through the model; those from `first` on are scored, each given the ones before it."""

    begin: int
    first: int
    end: int


def windows(total: int, window: int, stride: int) -> list[Window]:
    """The passes over a text of `total` tokens.

    A window's first token has nothing before it and is not scored by that window; a token that an earlier window scored
    is not scored again.
    """
    found = []
    scored_to = 1
    for begin in range(0, total - 1, stride):
        end = min(begin + window, total)
        found.append(Window(begin, max(scored_to, begin + 1), end))
        scored_to = end
        if end == total:
            break
    return found


def evenly(scored: int, wanted: int) -> np.ndarray:
    """Indices, int64, of `wanted` among `scored` tokens, in the middles of equal parts; all when fewer were scored."""
    import numpy as np

    count = min(scored, wanted)
    return (2 * np.arange(count) + 1) * scored // (2 * count) if count else np.arange(0)
