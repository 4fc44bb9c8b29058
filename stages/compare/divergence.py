"""How far one distribution over tokens is from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def divergence(baseline: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """KL(baseline‖candidate) in nats, float64 [rows], of logarithms of probabilities, [rows, vocabulary].

    Both are made to sum to one again, which rounding to float16 has spoilt: what comes out is a true divergence, never
    below 0, of distributions that differ from the measured ones by at most 2⁻¹¹ of each logarithm.
    """
    import numpy as np

    one, two = _normalized(baseline), _normalized(candidate)
    weight = np.exp(one)
    with np.errstate(invalid="ignore"):  # what has no probability in either is no difference
        terms = np.where(weight > 0, weight * (one - two), 0)
    return np.maximum(terms.sum(axis=1), 0)


def _normalized(logprobs: np.ndarray) -> np.ndarray:
    import numpy as np

    wide = logprobs.astype(np.float64)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
