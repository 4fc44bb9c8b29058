import json

import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

PARAMS = {"smoothing": 0.5, "observer": "minmax", "rest": "keep", "ignore": ["lm_head"]}


@pytest.fixture(scope="module")
def ids(tiny):
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer" / "tokenizer.json"))
    return torch.tensor(tokenizer.encode((tiny / "text" / "text.txt").read_text()).ids[: 16 * 32]).view(16, 32)


@pytest.fixture(scope="module")
def tokens(ids, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    save_file({"input_ids": ids[:8].numpy()}, folder / "tokens.safetensors")
    return folder


@pytest.fixture(scope="module")
def loud(tiny, tmp_path_factory):
    """The tiny model with some channels that are far louder than others, as those of trained models are."""
    folder = tmp_path_factory.mktemp("loud")
    model = AutoModelForCausalLM.from_pretrained(tiny / "model")
    with torch.no_grad():
        for layer in model.model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight[::11] *= 60
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def space(workspace, tiny, tokens):
    def make(model=None, **params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", model or tiny / "model", "model/hf")
        made.add_input("calibration", tokens, "dataset/tokens")
        made.request["outputs"] = {"model": "model/hf"}
        return made

    return make


@torch.inference_mode()
def error(model, quantized, ids):
    """How far logits of texts that did not calibrate are from the model's, by their size."""
    before = AutoModelForCausalLM.from_pretrained(model)(ids[8:]).logits
    after = AutoModelForCausalLM.from_pretrained(quantized)(ids[8:]).logits
    return ((after - before).norm() / before.norm()).item()


def test_weights_and_activations_have_eight_bits(space, tiny, ids):
    s = space()
    done = s.run()
    assert done.code == 0, done.stderr
    assert done.metrics["quantized_layers"] == 14
    assert 8 + 32 / 64 < done.metrics["bits_per_weight"] < 8 + 32 / 32 + 0.1
    assert all(done.metrics[f"{part}_seconds"] > 0 for part in ("load", "quantize", "save"))
    config = json.loads((s.out("model") / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["format"]) == ("compressed-tensors", "int-quantized")
    group = config["config_groups"]["group_0"]
    assert (group["weights"]["strategy"], group["weights"]["num_bits"]) == ("channel", 8)
    inputs = group["input_activations"]
    assert (inputs["strategy"], inputs["num_bits"], inputs["dynamic"], inputs["symmetric"]) == (
        "tensor",
        8,
        False,
        True,
    )
    tensors = load_file(s.out("model") / "model.safetensors")
    name = "model.layers.0.mlp.down_proj"
    assert (tensors[f"{name}.weight"].dtype, tuple(tensors[f"{name}.weight"].shape)) == (torch.int8, (32, 64))
    assert tuple(tensors[f"{name}.weight_scale"].shape) == (32, 1)
    assert tensors[f"{name}.input_scale"].numel() == 1
    assert tensors["lm_head.weight"].dtype == torch.float32
    assert error(tiny / "model", s.out("model"), ids) < 0.05


def test_smoothing_leaves_a_smaller_error(space, loud, ids):
    errors = []
    for smoothing in (0, 0.5):
        s = space(loud, smoothing=smoothing)
        done = s.run()
        assert done.code == 0, done.stderr
        errors.append(error(loud, s.out("model"), ids))
    assert errors[1] < 0.7 * errors[0]


def test_a_model_whose_norms_are_unknown(space, tmp_path):
    config = GPTNeoXConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "neox")
    done = space(tmp_path / "neox", ignore=["embed_out"]).run()
    assert done.code != 0
    assert "GPTNeoXForCausalLM" in done.problem["message"]
    assert done.problem["input"] == "model"
    assert "smoothing = 0" in done.problem["hint"]


@pytest.mark.gpu
def test_on_the_gpu_as_without(space, tiny, ids):
    s = space()
    done = s.run()
    assert done.code == 0, done.stderr
    assert done.metrics["peak_gpu_bytes"] > 0
    assert error(tiny / "model", s.out("model"), ids) < 0.05
