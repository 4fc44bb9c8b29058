import pytest

from lib.speed.samples import Run, figures, from_stamps


def test_figures_of_known_times():
    runs = [from_stamps(10, [12, 13, 15], [[0]] * 3), from_stamps(0, [1, 2, 3], [[0]] * 3), Run(4, [4, 4], [[0]] * 3)]
    assert figures(runs, batch=2, prompt=8) == pytest.approx({
        "prefill_tokens_per_second": 8, "prefill_tokens_per_second_low": 4, "prefill_tokens_per_second_high": 16,
        "decode_tokens_per_second": 4 / 3, "decode_tokens_per_second_low": 0.5, "decode_tokens_per_second_high": 2,
        "first_token_ms": 2000, "token_ms_p50": 1500, "token_ms_p90": 4000, "token_ms_p99": 4000,
    })  # fmt: skip
