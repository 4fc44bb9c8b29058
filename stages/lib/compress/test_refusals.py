"""What every scheme refuses, before anything long begins."""

import importlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.compress.oneshot import quantize
from lib.compress.packed import save
from lib.compress.samples import read_samples
from lib.compress.subject import Subject, open_subject
from tinfra_worker import BadInput, BadParam, Fault

KINDS = ["gptq", "awq", "rtn"]


def main(kind, job):
    importlib.import_module(f"{kind}.worker").main(job)


def break_weight(folder, value):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("params", "param", "says", "hint"),
    [
        (
            {"group_size": 24},
            "group_size",
            "not divide the 64 inputs of model.layers.0.self_attn.q_proj",
            "16, 32",
        ),
        ({"group_size": 64}, "group_size", "the 96 inputs of model.layers.0.mlp.down_proj", "choose one of 16, 32"),
        ({"ignore": ["re:.*"]}, "ignore", "no layer", ""),
        ({"ignore": ["re:("]}, "ignore", "no regular expression", ""),
        ({"ignore": [3]}, "ignore", "strings", ""),
    ],
)
def test_params(make_job, kind, params, param, says, hint):
    job = make_job(kind, **params)
    with pytest.raises(BadParam) as refused:
        main(kind, job)
    assert refused.value.param == param
    assert says in str(refused.value)
    assert hint in refused.value.hint


def test_no_power_of_two_divides(make_job):
    job = make_job("rtn", {"intermediate_size": 100})
    with pytest.raises(BadParam) as refused:
        main("rtn", job)
    assert "ignore" in refused.value.hint
    main("rtn", make_job("rtn", {"intermediate_size": 100}, ignore=["lm_head", "re:.*down_proj"]))


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_already(make_job, kind):
    first = make_job("rtn")
    main("rtn", first)
    with pytest.raises(BadInput, match="quantized already") as refused:
        main(kind, make_job(kind, model=first.output("model")))
    assert kind in refused.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(make_job, value):
    job = make_job("rtn")
    break_weight(job.input("model"), value)
    with pytest.raises(BadInput, match=r"model\.layers\.1\.mlp\.up_proj holds NaN or infinite") as refused:
        main("rtn", job)
    assert refused.value.port == "model"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "header", "config", "gone"])
def test_damaged_model(make_job, kind, damage):
    job = make_job(kind)
    folder = job.input("model")
    file = folder / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "header":
        file.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    elif damage == "config":
        (folder / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    else:
        file.unlink()
    with pytest.raises(BadInput) as refused:
        main(kind, job)
    assert refused.value.port == "model"


@pytest.mark.parametrize("kind", ["gptq", "awq"])
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[128, 1]], "token 128 is not in the model's vocabulary of 128"),
        ([[-1, 1]], "token -1 is not in"),
        ([[1] * 65], "65 tokens are longer than the model's context of 64"),
        ([1, 2], "input_ids"),
        ([[0.5, 1.5]], "input_ids"),
    ],
)
def test_calibration_that_does_not_fit(make_job, kind, rows, says):
    with pytest.raises(BadInput) as refused:
        main(kind, make_job(kind, rows=rows))
    assert refused.value.port == "calibration"
    assert says in str(refused.value)


def test_calibration_file_is_damaged(make_job):
    job = make_job("gptq")
    (job.input("calibration") / "tokens.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="damaged"):
        read_samples(job, open_subject(job).model)


def test_awq_refuses_a_model_whose_layers_it_does_not_know(make_job, tmp_path):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=128, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "neox")
    with pytest.raises(BadInput, match="GPTNeoXForCausalLM") as refused:
        main("awq", make_job("awq", model=tmp_path / "neox", ignore=["embed_out"]))
    assert "gptq" in refused.value.hint


def test_rest_that_cannot_hold_the_model(make_job):
    job = make_job("rtn", rest="float16")
    folder = job.input("model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = 1e6
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadParam, match=r"model\.norm\.weight holds numbers too large for float16") as refused:
        main("rtn", job)
    assert refused.value.param == "rest"


def test_rest_too_coarse_for_the_scales(make_job):
    """Scales near 1e-9 are zero in float16; what would be packed anew is another number, or none."""
    job = make_job("rtn", rest="float16", bits=8)
    folder = job.input("model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"] *= 1e-7
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadParam, match="too coarse") as refused:
        main("rtn", job)
    assert refused.value.param == "rest"


def test_a_layer_that_was_not_packed_is_told(make_job):
    job = make_job("rtn")
    subject = open_subject(job)
    name = "model.layers.0.self_attn.q_proj"
    others = [n for n in subject.layers if n != name]
    part = Subject(subject.model, {name: subject.layers[name]}, [*others, "lm_head"])
    importlib.import_module("rtn.worker").compress(job, part)
    with pytest.raises(Fault, match="13 layers of the checkpoint are not quantized"):
        save(job, subject)


def test_quantize_leaves_other_tensors_alone(make_job):
    job = make_job("rtn")
    subject = open_subject(job)
    before = {n: p.clone() for n, p in subject.model.named_parameters() if "_proj" not in n}
    from lib.compress.oneshot import make_rounding

    quantize(job, subject, [make_rounding(job, subject)])
    for name, parameter in before.items():
        assert torch.equal(parameter, subject.model.get_parameter(name)), name
