"""How sure a mean over the tokens of a text is, where neighbouring tokens tell much the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 4_000
FEWEST, MOST = 64, 1024  # blocks, as long as the text has as many tokens
_SEED = 0


def interval(values: np.ndarray, window: int, level: float = 0.95) -> tuple[float, float]:
    """Bounds for the mean of values [tokens] that lie in the order of the text.

    A percentile interval of the block bootstrap (Carlstein 1986): runs of tokens are drawn as wholes, so that what the
    tokens of one passage share counts once. A block is a window long, or shorter where there would be fewer than
    :data:`FEWEST` of them. The draws are seeded: the same values give the same bounds.
    """
    import numpy as np

    edges = blocks(len(values), window)
    sums = np.add.reduceat(values.astype(np.float64), edges[:-1])
    sizes = np.diff(edges)
    count = len(sizes)
    drawn = np.random.Generator(np.random.PCG64(_SEED)).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def blocks(tokens: int, window: int) -> np.ndarray:
    """Where blocks begin and the last one ends, int64 [blocks + 1]; they are of nearly the same length."""
    import numpy as np

    length = max(1, min(window, tokens // FEWEST), -(-tokens // MOST))
    count = -(-tokens // length)
    return np.arange(count + 1) * tokens // count
