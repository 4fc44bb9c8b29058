import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

PARAMS = {
    "bits": 4,
    "group_size": 16,
    "symmetric": True,
    "observer": "minmax",
    "damping": 0.01,
    "act_order": "static",
    "block_size": 128,
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


@pytest.fixture
def space(workspace, tiny, tokens):
    def make(model=None, calibration=None, **params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", model or tiny / "model", "model/hf")
        made.add_input("calibration", calibration or tokens, "dataset/tokens")
        made.request["outputs"] = {"model": "model/hf"}
        return made

    return make


def unpacked(folder):
    from transformers import CompressedTensorsConfig

    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=CompressedTensorsConfig(dequantize=True))


@pytest.mark.parametrize(
    ("bits", "symmetric", "order"), [(4, True, "static"), (2, True, "none"), (3, False, "static"), (8, True, "none")]
)
def test_weights_stand_on_a_grid(space, tiny, bits, symmetric, order):
    s = space(bits=bits, symmetric=symmetric, act_order=order)
    done = s.run()
    assert done.code == 0, done.stderr
    assert done.metrics["quantized_layers"] == 14
    base = AutoModelForCausalLM.from_pretrained(tiny / "model")
    model = unpacked(s.out("model"))
    unpacked_weights = dict(model.named_parameters())  # scales are still among them
    for name, original in base.named_parameters():
        weight = unpacked_weights[name]
        if not re.search(r"_proj\.weight$", name):
            assert torch.equal(weight, original), name
            continue
        groups = weight.detach().view(-1, PARAMS["group_size"])
        assert max(len(g.unique()) for g in groups) <= 2**bits
        error = (weight - original).norm() / original.norm()
        assert 0 < error < {2: 0.9, 3: 0.4, 4: 0.2, 8: 0.01}[bits], name


def test_metrics_and_progress(space):
    s = space(observer="mse", block_size=24)
    done = s.run()
    assert done.code == 0, done.stderr
    # One float32 scale for 16 weights of 4 bits.
    assert done.metrics["bits_per_weight"] == 4 + 32 / 16
    assert done.metrics["size_bytes"] == (s.out("model") / "model.safetensors").stat().st_size
    assert done.metrics["rtn_fallbacks"] == 0
    assert all(done.metrics[f"{part}_seconds"] > 0 for part in ("load", "quantize", "save"))
    assert "peak_gpu_bytes" not in done.metrics  # there is none
    bars = [e for e in done.events if e["type"] == "progress"]
    layers = [(n, 14, "linear layers") for n in (0, 7, 14)]
    told = [(e["done"], e["total"], e["unit"]) for e in bars]
    assert told in (layers, [layers[0], layers[-1]])  # what comes within a tenth of a second of the last is not told
    config = json.loads((s.out("model") / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "compressed-tensors"
    weights = config["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["group_size"], weights["actorder"]) == (4, 16, "static")
    assert weights["observer"] == "memoryless_mse"


def test_importance_weighs_the_error(space):
    """The scales that importance finds are others than those of plain mse, so the samples did reach the observer."""
    spaces = {name: space(observer=name) for name in ("mse", "imatrix")}
    trees = {}
    for name, s in spaces.items():
        done = s.run()
        assert done.code == 0, done.stderr
        assert done.metrics["rtn_fallbacks"] == 0
        trees[name] = load_file(s.out("model") / "model.safetensors")
    scales = [n for n in trees["mse"] if n.endswith("weight_scale")]
    assert len(scales) == 14
    assert any(not torch.equal(trees["mse"][n], trees["imatrix"][n]) for n in scales)


def test_better_than_rounding(space, tiny, tokens):
    """What GPTQ promises: the output on the calibration data is nearer than rounding to nearest would bring it."""
    s = space(bits=3)
    assert s.run().code == 0
    base = AutoModelForCausalLM.from_pretrained(tiny / "model").eval()
    model = unpacked(s.out("model")).eval()
    with safe_open(tokens / "tokens.safetensors", "pt") as f:
        ids = f.get_tensor("input_ids")
    inputs = []
    name = "model.layers.0.self_attn.q_proj"
    base.get_submodule(name).register_forward_hook(lambda _m, args, _out: inputs.append(args[0]))
    with torch.no_grad():
        base(ids)
    plain, gptq = (m.get_submodule(name).weight.detach() for m in (base, model))
    groups = plain.view(-1, PARAMS["group_size"])
    scale = groups.abs().amax(1, keepdim=True) / 3.5
    rounded = ((groups / scale).round().clamp(-4, 3) * scale).view_as(plain)
    x = inputs[0].flatten(0, 1)
    error = {k: ((x @ (w - plain).T) ** 2).mean().item() for k, w in {"gptq": gptq, "rtn": rounded}.items()}
    assert error["gptq"] < error["rtn"]


def test_tied_head_stays_tied_and_tokenizer_comes_along(space, workspace, tiny):
    made = workspace("synthetic")
    made.request["params"] = {
        "shape": "toy",
        "seed": 1, "hidden": 32, "layers": 1, "heads": 2, "kv_heads": 2, "intermediate": 32, "vocab": 300,
        "context": 64, "tie_embeddings": True, "dtype": "bfloat16", "text_bytes": 2000,
    }  # fmt: skip
    made.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf", "text": "dataset/text"}
    assert made.run().code == 0
    (made.out("model") / "tokenizer.json").write_bytes((made.out("tokenizer") / "tokenizer.json").read_bytes())
    s = space(model=made.out("model"))
    done = s.run()
    assert done.code == 0, done.stderr
    with safe_open(s.out("model") / "model.safetensors", "pt") as f:
        assert "lm_head.weight" not in f.keys()  # noqa: SIM118
    assert (s.out("model") / "tokenizer.json").exists()
    assert done.metrics["bits_per_weight"] == 4 + 16 / 16  # scales have the checkpoint's type


@pytest.mark.parametrize(
    ("params", "param", "says"),
    [
        ({"group_size": 24}, "group_size", "16, 32"),
        ({"ignore": ["re:.*"]}, "ignore", "no layer"),
        ({"ignore": ["re:("]}, "ignore", "no regular expression"),
        ({"ignore": [3]}, "ignore", "strings"),
    ],
)
def test_bad_params(space, params, param, says):
    done = space(**params).run()
    assert done.code == 10, done.stderr
    assert done.problem["param"] == param
    assert says in done.problem["message"] + done.problem.get("hint", "")


@pytest.mark.parametrize("rows", [[[999999, 1]], [[-1, 1]], [[1] * 257], [], [1, 2]])
def test_bad_calibration(space, tmp_path, rows):
    import numpy as np

    save_file({"input_ids": np.array(rows, dtype=np.int64)}, tmp_path / "tokens.safetensors")
    folder = tmp_path / "calibration"
    folder.mkdir()
    (tmp_path / "tokens.safetensors").rename(folder / "tokens.safetensors")
    done = space(calibration=folder).run()
    assert done.code == 11, done.stderr
    assert done.problem["input"] == "calibration"


def test_quantized_already(space):
    first = space()
    assert first.run().code == 0
    done = space(model=first.out("model")).run()
    assert done.code == 11
    assert "quantized already" in done.problem["message"]


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
