"""Rows through a cache against whole rows, by two decoders of one checkpoint; and how differences add up."""

import math

import pytest
import torch

from lib.llm.decoder import open_decoder
from onnx_check.difference import SLICE, Difference, NotFinite, measure
from onnx_check.rows import Shape, draw, through_cache, whole_rows

SHAPE = Shape(3, 16, 5)


@pytest.fixture
def steady(tiny):
    return open_decoder(tiny / "model", "steady", "float32")


def differences(tiny, model, shape=SHAPE, only_last=False, ragged=True):
    ids = draw(shape, 300, [0])
    want = list(whole_rows(open_decoder(tiny / "model", "generate", "float32"), ids))
    passes = list(through_cache(model, ids, shape, shape.ends(ragged), only_last))
    found = [[measure(s.logits, want[s.row][s.begin : s.begin + len(s.logits)]) for s in spans] for spans in passes]
    return [sum(one, Difference()) for one in found]


def test_rows_end_apart():
    assert SHAPE.ends(ragged=True) == [16, 14, 11]
    assert SHAPE.ends(ragged=False) == [16, 16, 16]
    assert Shape(8, 1, 1).ends(ragged=True) == [1] * 8


@pytest.mark.parametrize("ragged", [True, False])
def test_each_position_is_compared_once(tiny, steady, ragged):
    found = differences(tiny, steady, ragged=ragged)
    assert [d.positions for d in found] == [sum(SHAPE.ends(ragged)), 3, 3, 3, 3, 3]
    assert max(d.largest for d in found) < 1e-5
    assert all(d.same == d.near == d.positions for d in found)


def test_only_the_last_of_a_prefill(tiny, steady):
    assert [d.positions for d in differences(tiny, steady, only_last=True)] == [1, 3, 3, 3, 3, 3]
    assert [d.positions for d in differences(tiny, steady, only_last=True, ragged=False)] == [3] * 6


def test_padding_that_is_not_forgotten_shows(tiny, steady, monkeypatch):
    monkeypatch.setattr(steady, "rewind", lambda length: None)
    prefill, *steps = differences(tiny, steady)
    assert prefill.largest < 1e-5
    assert all(d.largest > 1e-3 for d in steps)


def test_sums():
    want = torch.tensor([[3.0, 0, 4, 0, 0, 0], [0, 0, 0, 0, 0, 5]])
    got = want + torch.tensor([[0.0, 0, 0, 0, 0, 0.5], [0, 0, 0, 0, -1, 0]])
    found = measure(got, want)
    assert (found.largest, found.total, found.logits, found.positions) == (1, 1.5, 12, 2)
    assert math.isclose(found.relative, math.sqrt(1.25 / 50))
    assert (found.same, found.near) == (2, 2)
    assert measure(got[:1], want[:1]) + measure(got[1:], want[1:]) == found
    last = torch.tensor([[6.0, 5, 4, 3, 2, 1]])
    assert (measure(last.flip(1), last).same, measure(last.flip(1), last).near) == (0, 0)
    assert measure(last.roll(1), last).near == 1
    assert measure(got, got).relative == 0


def test_slices_do_not_show(monkeypatch):
    got, want = torch.randn(40, 300), torch.randn(40, 300)
    whole = measure(got, want)
    assert SLICE > 40 * 300
    monkeypatch.setattr("onnx_check.difference.SLICE", 7 * 300)
    pieces = measure(got, want)
    assert math.isclose(pieces.relative, whole.relative, rel_tol=1e-6)
    assert (pieces.largest, pieces.same, pieces.near, pieces.positions) == (
        whole.largest,
        whole.same,
        whole.near,
        whole.positions,
    )


@pytest.mark.parametrize("port", ["model", "reference"])
def test_no_numbers(port):
    logits = {"model": torch.zeros(2, 5), "reference": torch.zeros(2, 5)}
    logits[port][1, 3] = float("inf")
    with pytest.raises(NotFinite) as e:
        measure(logits["model"], logits["reference"])
    assert e.value.port == port
