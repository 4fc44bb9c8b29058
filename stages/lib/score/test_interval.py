import time

import numpy as np
import pytest

from lib.score.interval import FEWEST, MOST, blocks, interval


def test_the_same_values_give_the_same_bounds():
    values = np.random.default_rng(0).normal(size=3000)
    assert interval(values, 128) == interval(values.copy(), 128)


def test_equal_values_leave_no_doubt():
    assert interval(np.full(1000, 0.25, np.float32), 128) == (0.25, 0.25)


def series(random, texts, tokens, kinship):
    """Unit-variance values whose neighbours correlate by `kinship`, float64 [texts, tokens]; their true mean is 0."""
    found = np.empty((texts, tokens))
    found[:, 0] = random.normal(size=texts)
    fresh = random.normal(size=(texts, tokens)) * np.sqrt(1 - kinship**2)
    for at in range(1, tokens):
        found[:, at] = kinship * found[:, at - 1] + fresh[:, at]
    return found


@pytest.mark.parametrize("kinship", [0, 0.8])
def test_it_covers_the_truth_as_often_as_it_says(kinship):
    texts = series(np.random.default_rng(1), 200, 8000, kinship)
    hits = sum(low <= 0 <= high for low, high in (interval(t, 1024) for t in texts))
    # 95 % of 200 are 190; a binomial of 0.95 leaves 178-198 once in a thousand. Blocks of tokens that know each other
    # are a little short of it.
    assert 178 <= hits <= 198


@pytest.mark.parametrize("kinship", [0, 0.8])
def test_its_width_is_that_of_the_true_error(kinship):
    texts = series(np.random.default_rng(3), 200, 8000, kinship)
    # The mean of n such values has the variance (1 + kinship) / (1 − kinship) / n, but for ends of 1/n².
    error = np.sqrt((1 + kinship) / (1 - kinship) / 8000)
    widths = np.diff([interval(t, 1024) for t in texts]) / (2 * 1.96 * error)
    assert 0.95 < widths.mean() < 1.01  # 64 blocks of 125 tokens see a percent less than all
    # Without blocks it would be a third of that.
    assert (texts.std(axis=1) / np.sqrt(8000)).mean() < 1.01 * error * np.sqrt((1 - kinship) / (1 + kinship))


def test_both_bounds_leave_the_same_out():
    values = np.random.default_rng(4).normal(size=64 * 100)
    means = values.reshape(64, 100).mean(axis=1)
    error = means.std() / np.sqrt(64)
    low, high = interval(values, 1024)
    assert (values.mean() - low) / error == pytest.approx(1.96, rel=0.06)
    assert (high - values.mean()) / error == pytest.approx(1.96, rel=0.06)


def test_skewed_values():
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        low, high = interval(random.gamma(0.5, 2, 4000), 1024)  # mean 1
        hits += low <= 1 <= high
    assert 178 <= hits <= 198


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 300, 16368, 262016, 3_000_000])
@pytest.mark.parametrize("window", [2, 1024])
def test_blocks_share_the_tokens_evenly(tokens, window):
    edges = blocks(tokens, window)
    sizes = np.diff(edges)
    assert edges[0] == 0
    assert edges[-1] == tokens
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
    assert min(tokens, FEWEST) <= len(sizes) <= MOST
    assert sizes.max() <= max(window, -(-tokens // MOST))


def test_time_does_not_grow_with_the_text():
    began = time.process_time()
    interval(np.zeros(5_000_000, np.float32), 2)
    assert time.process_time() - began < 10
