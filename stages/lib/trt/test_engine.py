"""The decoder's bookkeeping, with a made-up engine in torch in place of TensorRT's."""

import json
from contextlib import nullcontext

import pytest
import torch

from lib.llm.decoder import Unfit
from lib.trt import engine
from lib.trt.profiles import plan

VOCABULARY = 16
CONTRACT = {
    "format": 1,
    "architecture": "LlamaForCausalLM",
    "layers": 2,
    "heads": 4,
    "kv_heads": 3,
    "head_dim": VOCABULARY,
    "hidden": 8,
    "vocabulary": VOCABULARY,
    "context": 64,
    "dtype": "float32",
    "ends": [2],
    "weights": "float",
    "group": 0,
    "symmetric": True,
    "weight_bytes": 1000,
}


class Sums:
    """Keys are the tokens, one hot; values too, of the other sign. The logits of a position are the sum of all tokens
    up to it, each times its place in the text: whatever stands in a wrong slot, or is seen too early, changes them.
    """

    def bind(self, tensors):
        assert all(t.data_ptr() % 256 == 0 and t.is_contiguous() for t in tensors.values() if t.device.type == "cuda")
        assert {n for n in tensors if "." in n} == {
            f"{kind}.{layer}.{part}" for kind in ("cache", "new") for layer in (0, 1) for part in ("key", "value")
        }
        self.tensors = tensors

    def run(self):
        t = self.tensors
        hot = torch.nn.functional.one_hot(t["input_ids"], VOCABULARY).float()
        batch, tokens, _ = hot.shape
        for layer in (0, 1):
            for part, sign in (("key", 1), ("value", -1)):
                t[f"new.{layer}.{part}"].copy_((sign * hot)[:, None].expand(batch, 3, tokens, VOCABULARY))
        keys, values = t["cache.0.key"][:, 0], t["cache.1.value"][:, 2]
        places = torch.arange(1, keys.shape[1] + 1)
        seen = torch.where((places <= t["lengths"][:, None])[..., None], (keys - values) / 2, 0.0)
        before = (seen * places[:, None]).sum(1)
        now = (hot * (t["lengths"][:, None] + torch.arange(1, tokens + 1))[..., None]).cumsum(1)
        t["logits"].copy_((before[:, None] + now)[:, t["rows"]])


class Plan:
    version = "10.6.0"
    device = torch.device("cpu")

    def __init__(self, profiles):
        self.profiles = profiles
        self.used = []

    def dtype(self):
        return "float32"

    def context(self, profile):
        self.used.append(self.profiles[profile].use)
        return Sums()

    def on_stream(self):
        return nullcontext()


@pytest.fixture
def decoder(tmp_path):
    def make(decode=((2, 24), (3, 32)), prefill=8, score=6, spans=False):
        (tmp_path / "decoder.json").write_text(json.dumps(CONTRACT))
        made = engine.EngineDecoder(tmp_path, Plan(plan(decode, prefill, score, spans)))
        made.plan = made._plan
        return made

    return make


def want(ids):
    """Logits of every position."""
    hot = torch.nn.functional.one_hot(ids, VOCABULARY).float()
    return (hot * torch.arange(1, ids.shape[1] + 1)[:, None]).cumsum(1)


def draw(batch, length, seed=0):
    return torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_it_says_what_it_is(decoder):
    made = decoder()
    assert (made.vocabulary, made.weight_bytes, made.dtype) == (VOCABULARY, 1000, "float32")
    assert made.engine == "TensorRT 10.6.0 cpu float32"


def test_prompts_chunks_and_steps_see_what_was_before(decoder):
    made, ids = decoder(), draw(3, 23)
    made.open(3, 30)
    logits, at = [], 0
    for size in (3, 1, 11, 1, 7):  # 11 and 7 are more than a pass that gives all logits takes
        logits.append(made.feed(ids[:, at : at + size], torch.arange(size)))
        at += size
    assert torch.equal(torch.cat(logits, 1), want(ids))
    assert made.plan.used == ["score", "decode"]


def test_positions_are_given_in_the_order_asked(decoder):
    made, ids = decoder(), draw(2, 20)
    made.open(2, 24)
    rows = torch.tensor([19, 0, 7, 7])
    assert torch.equal(made.feed(ids, rows), want(ids)[:, rows])
    made.rewind()
    assert made.feed(ids, torch.tensor([], dtype=torch.int64)).shape == (2, 0, VOCABULARY)
    with pytest.raises(Unfit, match="positions"):
        made.feed(ids[:, :2], torch.tensor([2]))


def test_rows_of_different_lengths(decoder):
    made, ids = decoder(), draw(3, 20)
    made.open(3, 32)
    given, ends = draw(3, 9, seed=1), torch.tensor([4, 9, 6])
    for row, end in enumerate(ends):
        given[row, :end] = ids[row, :end]
    made.feed(given, torch.tensor([8]))
    made.rewind(ends)
    for _ in range(8):
        next_ids = torch.stack([ids[row, end] for row, end in enumerate(ends)])[:, None]
        logits = made.feed(next_ids, torch.tensor([0]))
        for row, end in enumerate(ends):
            assert torch.equal(logits[row, 0], want(ids)[row, end])
        ends += 1


def test_rewinding_leaves_what_is_before(decoder):
    made, ids = decoder(), draw(2, 12)
    made.open(2, 24)
    made.feed(draw(2, 12, seed=1), torch.tensor([11]))
    made.rewind()
    made.feed(ids[:, :8], torch.tensor([7]))
    made.feed(draw(2, 3, seed=2), torch.tensor([2]))
    made.rewind(8)
    assert torch.equal(made.feed(ids[:, 8:], torch.arange(4)), want(ids)[:, 8:])


def test_what_is_too_long_or_not_open(decoder):
    made = decoder()
    with pytest.raises(Unfit, match="nothing is opened"):
        made.feed(draw(2, 1), torch.tensor([0]))
    made.open(2, 10)  # of 24 slots
    made.feed(draw(2, 10), torch.tensor([9]))
    with pytest.raises(Unfit, match="10 tokens and 1 more are too many for rows of 10"):
        made.feed(draw(2, 1), torch.tensor([0]))
    with pytest.raises(Unfit, match="3 rows are given; 2 are opened"):
        made.feed(draw(3, 1), torch.tensor([0]))
    with pytest.raises(Unfit, match="decode: batch 3, tokens 1, length 32"):
        made.open(4, 10)
    with pytest.raises(Unfit, match="33 tokens"):
        made.open(3, 33)
    with pytest.raises(Unfit, match="0 rows"):
        made.open(0, 8)


def test_logits_that_no_profile_gives(decoder):
    made = decoder(score=0)
    made.open(2, 24)
    with pytest.raises(Unfit, match=r"the logits of 2 positions of 4 tokens .* prefill: batch 1-3"):
        made.feed(draw(2, 4), torch.tensor([0, 1]))


def choices(ids, tokens, bar=()):
    """What greedy decoding gives."""
    for _ in range(tokens):
        logits = want(ids)[:, -1]
        logits[:, list(bar)] = float("-inf")
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return ids[:, -tokens:]


@pytest.mark.parametrize("batch", [1, 3])  # with a decode profile of its own, and without
def test_greedy_tokens(decoder, batch):
    made, ids = decoder(), draw(batch, 12)
    made.open(batch, 32)
    for bar in ([], [int(choices(ids, 1)[0, 0]), 3], []):
        found = made.generate(ids, 9, torch.tensor(bar, dtype=torch.int64))
        assert torch.equal(found.tokens, choices(ids, 9, bar))
        assert len(found.step_seconds) == 8
        assert all(s >= 0 for s in (found.first_seconds, *found.step_seconds))
    # What was chosen is held, but for the last token of each row.
    full = torch.cat([ids, found.tokens], 1)
    assert torch.equal(made.feed(full[:, -1:], torch.tensor([0])), want(full)[:, -1:])


@pytest.mark.parametrize("batch", [1, 3, 4, 5])
def test_a_profile_that_spans_batches_takes_each_of_them(decoder, batch):
    made, ids = decoder(decode=((3, 24), (5, 24)), spans=True), draw(batch, 9)
    made.open(batch, 20)
    used = []
    made._plan.context = lambda number: used.append(number) or Sums()
    assert torch.equal(made.generate(ids, 9, torch.tensor([2])).tokens, choices(ids, 9, [2]))
    made.rewind()
    assert torch.equal(made.feed(ids, torch.arange(9)), want(ids))
    assert used == [0 if batch < 4 else 1, 2, 3]  # the step, the prompt, and all of a prompt's logits
    with pytest.raises(Unfit, match="decode: batch 1-3, tokens 1, length 24, rows 1; decode: batch 4-5"):
        made.open(6, 20)


def test_callers_may_be_in_inference_mode_or_not(decoder):
    made, ids = decoder(), draw(2, 8)
    with torch.inference_mode():
        made.open(2, 24)
        made.generate(ids, 3, torch.tensor([2]))
    assert torch.equal(made.generate(ids, 3, torch.tensor([2])).tokens, choices(ids, 3, [2]))
    with torch.inference_mode():
        made.rewind(8)
        assert torch.equal(made.feed(ids[:, :1], torch.tensor([0])), want(torch.cat([ids, ids[:, :1]], 1))[:, 8:])


def test_one_token_and_a_full_cache(decoder):
    made, ids = decoder(), draw(2, 20)
    made.open(2, 24)
    assert made.generate(ids, 1, torch.tensor([], dtype=torch.int64)).step_seconds == []
    assert torch.equal(made.generate(ids, 4, torch.tensor([2])).tokens, choices(ids, 4, [2]))
    with pytest.raises(Unfit, match="0 tokens and 25 more"):
        made.generate(ids, 5, torch.tensor([2]))


def test_opening_anew_begins_empty(decoder):
    made = decoder()
    made.open(2, 24)
    made.generate(draw(2, 4), 5, torch.tensor([2]))
    made.open(3, 32)
    ids = draw(3, 6, seed=4)
    assert torch.equal(made.feed(ids, torch.arange(6)), want(ids))
    assert torch.equal(made.generate(ids, 5, torch.tensor([0])).tokens, choices(ids, 5, [0]))
