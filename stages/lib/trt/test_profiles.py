import pytest

from lib.trt import profiles

PLAN = profiles.plan([(1, 64), (8, 128)], prefill=32, score=48)


def test_decode_profiles_are_fixed_and_the_others_reach_over_all_of_them():
    one, eight, prefill, score = PLAN
    assert (one.use, one.batch, one.tokens, one.length, one.rows) == (
        "decode",
        (1, 1, 1),
        (1, 1, 1),
        (64, 64, 64),
        (1, 1, 1),
    )
    assert eight.length == (128, 128, 128)
    assert (prefill.batch, prefill.tokens, prefill.length, prefill.rows) == (
        (1, 8, 8),
        (1, 32, 32),
        (64, 128, 128),
        (1, 1, 1),
    )
    assert (score.use, score.batch, score.tokens, score.rows) == ("score", (1, 1, 8), (1, 48, 48), (1, 48, 48))
    assert len(profiles.plan([(1, 64)], prefill=512, score=0)) == 2


def test_a_spanning_profile_begins_behind_the_next_smaller_batch_of_its_length():
    spans = profiles.plan([(32, 128), (8, 128), (4, 64)], 32, 0, spans=True)
    assert [p.batch for p in spans] == [(9, 32, 32), (1, 8, 8), (1, 4, 4), (1, 32, 32)]
    assert [p.length for p in spans[:3]] == [(128,) * 3, (128,) * 3, (64,) * 3]
    assert profiles.shapes("cache.0.key", (-1, 2, -1, 16), spans[0]) == (
        (9, 2, 128, 16),
        (32, 2, 128, 16),
        (32, 2, 128, 16),
    )
    assert str(spans[1]) == "decode: batch 1-8, tokens 1, length 128, rows 1"


def test_every_batch_steps_through_the_profile_that_spans_it():
    spans = profiles.plan([(8, 128), (32, 128)], 32, 0, spans=True)
    assert [profiles.choose(spans, batch, 1, 128, 1) for batch in (1, 2, 8, 9, 32, 33)] == [0, 0, 0, 1, 1, None]
    assert [profiles.cache_length(spans, batch, 30) for batch in (1, 8, 9, 32, 33)] == [128, 128, 128, 128, None]
    mixed = profiles.plan([(4, 64), (8, 128)], 32, 0, spans=True)
    assert [profiles.cache_length(mixed, 2, length) for length in (30, 65, 129)] == [64, 128, None]
    assert profiles.passes(spans, 3, 40, 128, [39]) == [
        profiles.Pass(2, 0, 32, [0], []),
        profiles.Pass(2, 32, 40, [7], [0]),
    ]


def test_a_pass_is_never_longer_than_the_cache():
    assert profiles.plan([(1, 64)], prefill=512, score=512)[1].tokens == (1, 64, 64)


@pytest.mark.parametrize(
    ("decode", "says"),
    [([], "no batch"), ([(0, 16)], "batch is 0"), ([(1, 15)], "length is 15"), ([(2, 16), (2, 16)], "twice")],
)
def test_what_cannot_be(decode, says):
    with pytest.raises(ValueError, match=says):
        profiles.plan(decode, 8, 0)


def test_shapes_of_each_input():
    eight, prefill = PLAN[1], PLAN[2]
    assert profiles.shapes("input_ids", (-1, -1), prefill) == ((1, 1), (8, 32), (8, 32))
    assert profiles.shapes("lengths", (-1,), eight) == ((8,), (8,), (8,))
    assert profiles.shapes("rows", (-1,), PLAN[3]) == ((1,), (48,), (48,))
    assert profiles.shapes("cache.11.value", (-1, 4, -1, 16), prefill) == (
        (1, 4, 64, 16),
        (8, 4, 128, 16),
        (8, 4, 128, 16),
    )
    with pytest.raises(ValueError, match=r"past.0.key"):
        profiles.shapes("past.0.key", (-1, 4, -1, 16), eight)


def test_the_first_profile_that_takes_a_call_is_chosen():
    assert profiles.choose(PLAN, 1, 1, 64, 1) == 0
    assert profiles.choose(PLAN, 8, 1, 128, 1) == 1
    assert profiles.choose(PLAN, 3, 1, 64, 1) == 2  # no decode profile has this batch
    assert profiles.choose(PLAN, 8, 32, 128, 1) == 2
    assert profiles.choose(PLAN, 8, 33, 128, 1) == 3
    assert profiles.choose(PLAN, 8, 32, 128, 2) == 3
    assert profiles.choose(PLAN, 9, 1, 128, 1) is None
    assert profiles.choose(PLAN, 8, 49, 128, 1) is None


def test_the_cache_is_that_of_the_decode_profile_where_there_is_one():
    assert profiles.cache_length(PLAN, 8, 30) == 128  # 64 would do, and be slower
    assert profiles.cache_length(PLAN, 1, 64) == 64
    assert profiles.cache_length(PLAN, 1, 65) == 65  # by prefill
    assert profiles.cache_length(PLAN, 3, 30) == 64
    assert profiles.cache_length(PLAN, 8, 129) is None
    assert profiles.cache_length(PLAN, 9, 1) is None


def test_a_call_that_a_profile_takes_is_one_pass():
    assert profiles.passes(PLAN, 8, 1, 128, [0]) == [profiles.Pass(1, 0, 1, [0], [0])]
    assert profiles.passes(PLAN, 8, 32, 128, [31]) == [profiles.Pass(2, 0, 32, [31], [0])]
    assert profiles.passes(PLAN, 2, 3, 64, [2, 0]) == [profiles.Pass(3, 0, 3, [2, 0], [0, 1])]


def test_what_is_longer_goes_in_parts():
    assert profiles.passes(PLAN, 8, 70, 128, [69]) == [
        profiles.Pass(2, 0, 32, [0], []),
        profiles.Pass(2, 32, 64, [0], []),
        profiles.Pass(2, 64, 70, [5], [0]),
    ]
    assert profiles.passes(PLAN, 8, 50, 128, [49, 3, 4]) == [
        profiles.Pass(3, 0, 48, [3, 4], [1, 2]),
        profiles.Pass(3, 48, 50, [1], [0]),
    ]


def test_what_no_profile_takes_has_no_passes():
    assert profiles.passes(PLAN[:3], 8, 32, 128, [0, 1]) == []  # nothing gives the logits of two positions
    assert profiles.passes(PLAN, 9, 32, 128, [0]) == []
    assert profiles.passes(PLAN, 8, 32, 129, [0]) == []


def test_engine_json_holds_them_whole():
    assert profiles.decode(profiles.encode(PLAN)) == PLAN
    spans = profiles.plan([(8, 64)], 32, 0, spans=True)
    assert profiles.decode(profiles.encode(spans)) == spans
    for wrong in (None, [1], [{"use": "decode"}], [{**profiles.encode(PLAN)[0], "batch": [1]}]):
        with pytest.raises(ValueError, match="profiles"):
            profiles.decode(wrong)
