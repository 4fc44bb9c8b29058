import json

import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

PARAMS = {
    "bits": 4,
    "group_size": 16,
    "symmetric": False,
    "observer": "minmax",
    "grid": 8,
    "duo_scaling": "on",
    "rest": "keep",
    "ignore": ["lm_head"],
}


@pytest.fixture(scope="module")
def tokens(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer" / "tokenizer.json"))
    ids = tokenizer.encode((tiny / "text" / "text.txt").read_text()).ids
    save_file({"input_ids": torch.tensor(ids[: 8 * 32]).view(8, 32).numpy()}, folder / "tokens.safetensors")
    return folder


@pytest.fixture(scope="module")
def uneven(tiny, tmp_path_factory):
    """The tiny model with some channels that are far louder than others, as those of trained models are."""
    folder = tmp_path_factory.mktemp("uneven")
    model = AutoModelForCausalLM.from_pretrained(tiny / "model")
    with torch.no_grad():
        for layer in model.model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight[::7] *= 20
            layer.mlp.up_proj.weight[::9] *= 20
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def space(workspace, tiny, tokens):
    def make(kind="awq", model=None, **params):
        made = workspace(kind)
        made.request["params"] = {k: v for k, v in PARAMS.items() if kind == "awq" or k not in ("grid", "duo_scaling")}
        made.request["params"] |= params
        made.add_input("model", model or tiny / "model", "model/hf")
        if kind == "awq":
            made.add_input("calibration", tokens, "dataset/tokens")
        made.request["outputs"] = {"model": "model/hf"}
        return made

    return make


def test_metrics_and_progress(space):
    s = space()
    done = s.run()
    assert done.code == 0, done.stderr
    assert done.metrics["quantized_layers"] == 14
    assert done.metrics["bits_per_weight"] == 4 + 32 / 16 + 4 / 16
    assert done.metrics["size_bytes"] == (s.out("model") / "model.safetensors").stat().st_size
    assert done.metrics["scaled_layers"] == 12  # o_proj has two heads before it, v_proj one
    bars = [(e["what"], e["done"], e["total"], e["unit"]) for e in done.events if e["type"] == "progress"]
    search = [bar[1:] for bar in bars if bar[0] == "searching scales"]
    layers = [(n, 14, "linear layers") for n in (0, 7, 14)]
    assert search in (layers, [layers[0], layers[-1]])  # what comes within a tenth of a second of the last is not told
    assert bars[-1] == ("rounding", 14, 14, "linear layers")
    weights = json.loads((s.out("model") / "config.json").read_text())["quantization_config"]["config_groups"][
        "group_0"
    ]
    assert (weights["weights"]["num_bits"], weights["weights"]["symmetric"]) == (4, False)


@pytest.mark.parametrize(
    ("symmetric", "duo", "limit"), [(False, "on", 0.8), (False, "both", 0.8), (True, "off", 0.95)]
)  # off may not scale by the weights, which is what this model would gain most from
def test_nearer_to_the_model_than_rounding(space, uneven, tokens, symmetric, duo, limit):
    """What AWQ promises: channels that are loud keep their precision, and the model's output moves less."""
    from safetensors import safe_open

    with safe_open(tokens / "tokens.safetensors", "pt") as f:
        ids = f.get_tensor("input_ids")
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(uneven).eval()(ids).logits
        errors = {}
        for kind, params in (("awq", {"duo_scaling": duo}), ("rtn", {})):
            s = space(kind, uneven, bits=3, symmetric=symmetric, **params)
            done = s.run()
            assert done.code == 0, done.stderr
            model = AutoModelForCausalLM.from_pretrained(s.out("model")).eval()
            errors[kind] = (model(ids).logits - plain).square().mean().item()
    assert errors["awq"] < limit * errors["rtn"]


def test_refusal_has_the_exit_code(space, tmp_path):
    done = space(group_size=24).run()
    assert done.code == 10
    assert done.problem["param"] == "group_size"
    s = space()
    s.request["inputs"].pop("calibration")
    done = s.run()
    assert done.code == 11
    assert done.problem["input"] == "calibration"


def test_cancel(space, workspace):
    made = workspace("synthetic")
    made.request["params"] = {
        "shape": "toy",
        "seed": 1, "hidden": 256, "layers": 40, "heads": 4, "kv_heads": 4, "intermediate": 512, "vocab": 300,
        "context": 64, "tie_embeddings": True, "dtype": "float32", "text_bytes": 2000,
    }  # fmt: skip
    made.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf", "text": "dataset/text"}
    assert made.run().code == 0
    done = space(model=made.out("model")).cancel_at(lambda events: any(e.get("done", 0) >= 7 for e in events))
    assert done.code == 143
    assert done.result is None
