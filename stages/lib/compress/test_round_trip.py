"""Every scheme: what transformers reads back computes what the model did in memory."""

import importlib

import pytest
import torch
from transformers import AutoModelForCausalLM

from lib.compress.packed import quantized_layers, save
from lib.compress.subject import open_subject

# Both ways compute the same sums in float32, with the same weights: what is left is the order of addition.
TOLERANCE = 1e-5


def logits(model):
    ids = torch.arange(40)[None] * 3 % 128
    with torch.no_grad():
        return model(ids).logits.float()


def round_trip(kind, job):
    """Logits before and after the folder, and the model that was read back."""
    subject = open_subject(job)
    worker = importlib.import_module(f"{kind}.worker")
    worker.compress(job, subject)
    before = logits(subject.model)
    save(job, subject)
    back = AutoModelForCausalLM.from_pretrained(job.output("model"), dtype="auto").eval()
    return before, logits(back), back


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("kind", ["gptq", "awq", "rtn"])
@pytest.mark.parametrize("bits", [4, 8])
def test_logits_are_those_of_memory(make_job, kind, symmetric, bits):
    job = make_job(kind, bits=bits, symmetric=symmetric)
    before, after, _ = round_trip(kind, job)
    assert (before - after).abs().max() <= TOLERANCE
    # Not trivially so: quantizing did change the model, the coarser the more.
    plain = logits(AutoModelForCausalLM.from_pretrained(job.input("model")).eval())
    moved = (before - plain).norm() / plain.norm()
    assert {4: 0.01, 8: 0.0005}[bits] < moved < {4: 0.5, 8: 0.05}[bits]
    assert (job.result.metrics["bits_per_weight"] - bits) * 16 == 32 + (0 if symmetric else bits)


@pytest.mark.parametrize("kind", ["gptq", "awq", "rtn"])
def test_observer_mse(make_job, kind):
    before, after, _ = round_trip(kind, make_job(kind, observer="mse", bits=3))
    assert (before - after).abs().max() <= TOLERANCE


@pytest.mark.parametrize("ignore", [["lm_head"], [], ["lm_head", "re:.*down_proj", "model.layers.0.self_attn.q_proj"]])
@pytest.mark.parametrize("kind", ["gptq", "awq", "rtn"])
def test_what_is_ignored_and_a_tied_head(make_job, kind, ignore):
    job = make_job(kind, {"tie_word_embeddings": True}, ignore=ignore, symmetric=False)
    before, after, back = round_trip(kind, job)
    assert (before - after).abs().max() <= TOLERANCE
    assert back.config.tie_word_embeddings == ("lm_head" in ignore)
    packed = quantized_layers(job.output("model").glob("*.safetensors"))
    assert ("lm_head" in packed) == ("lm_head" not in ignore)
    assert ("model.layers.0.self_attn.q_proj" in packed) == (len(ignore) < 3)
    assert ("model.layers.1.mlp.down_proj" in packed) == (len(ignore) < 3)
    assert len(packed) == job.result.metrics["quantized_layers"] == {0: 15, 1: 14, 3: 11}[len(ignore)]


@pytest.mark.parametrize("rest", ["float16", "bfloat16"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("kind", ["gptq", "awq", "rtn"])
def test_rest_in_half_precision(make_job, kind, rest, symmetric):
    job = make_job(kind, rest=rest, symmetric=symmetric)
    before, after, back = round_trip(kind, job)
    assert back.dtype == getattr(torch, rest)
    # The same numbers are added in the same type: one rounding of a logit of about 8 may differ.
    assert (before - after).abs().max() <= {"float16": 8 * 2**-10, "bfloat16": 8 * 2**-7}[rest]
    assert (job.result.metrics["bits_per_weight"] - 4) * 16 == 16 + (0 if symmetric else 4)


@pytest.mark.parametrize(("heads", "scaled"), [(4, 14), (2, 12)])
def test_awq_scales_what_llama_allows(make_job, heads, scaled):
    """q, k, v behind a norm, gate and up behind a norm, down behind up; o behind v where there are as many heads."""
    job = make_job("awq", {"num_key_value_heads": heads})
    importlib.import_module("awq.worker").main(job)
    assert job.result.metrics["scaled_layers"] == scaled
