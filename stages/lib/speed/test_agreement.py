import numpy as np
import pytest

from lib.speed.agreement import TOP, Reference, check_choice, compare
from tinfra_worker import BadInput


def test_agreement():
    logits = np.random.default_rng(1).normal(0, 10, (2, 50)).astype(np.float32)
    truth = Reference("the reference", logits)
    ranked = np.argsort(-logits, axis=1)
    assert compare(truth, logits, False) == {"max_difference": 0, "mean_difference": 0}
    shifted = logits.copy()
    shifted[1, ranked[1, -1]] += 1  # of a range of some 40
    with pytest.raises(BadInput, match="logits differ by 1 of"):
        compare(truth, shifted, False)
    assert compare(truth, shifted, True)["max_difference"] == pytest.approx(1)
    check_choice(logits, ranked[:, 0], False, "it")
    check_choice(logits, ranked[:, TOP - 1], True, "it")
    with pytest.raises(BadInput, match="after prompt 0 it chose"):
        check_choice(logits, ranked[:, 1], False, "it")
    with pytest.raises(BadInput, match=f"among its {TOP} likeliest"):
        check_choice(logits, ranked[:, TOP], True, "it")
    with pytest.raises(BadInput, match="not finite"):
        compare(truth, np.where(logits == logits.max(), np.nan, logits), True)
    with pytest.raises(BadInput, match="gives logits"):
        compare(truth, logits[:, 1:], True)
