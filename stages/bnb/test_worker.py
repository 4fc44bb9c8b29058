import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from bnb import worker
from tinfra_worker import BadInput, BadParam

PARAMS = {"scheme": "nf4", "double_quant": False, "threshold": 6, "ignore": ["lm_head"]}


@pytest.fixture
def space(workspace, tiny):
    def make(model=None, **params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", model or tiny / "model", "model/hf")
        made.request["outputs"] = {"model": "model/bnb"}
        return made

    return make


@pytest.fixture
def changed(tiny, tmp_path):
    """The tiny model with another config."""

    def make(change):
        folder = tmp_path / "changed"
        shutil.copytree(tiny / "model", folder)
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def test_params_become_settings(space):
    nf4 = worker.make_settings(space(double_quant=True).job())
    assert nf4 == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.float32,
        "llm_int8_skip_modules": ["lm_head"],
    }
    int8 = worker.make_settings(space(scheme="llm_int8", threshold=5.5, ignore=["lm_head", "o_proj"]).job())
    assert int8 == {
        "load_in_8bit": True,
        "llm_int8_threshold": 5.5,
        "llm_int8_skip_modules": ["lm_head", "o_proj"],
    }


def test_double_quant_is_nf4s(space):
    with pytest.raises(BadParam, match="no scales in 8 bits") as refused:
        worker.make_settings(space(scheme="llm_int8", double_quant=True).job())
    assert refused.value.param == "double_quant"


def test_a_quantized_model_is_refused(space, changed):
    model = changed(lambda config: config.update(quantization_config={"quant_method": "compressed-tensors"}))
    with pytest.raises(BadInput, match="quantized already") as refused:
        worker.main(space(model=model).job())
    assert refused.value.port == "model"


def test_a_model_that_names_no_type(space, changed):
    model = changed(lambda config: [config.pop(name, None) for name in ("dtype", "torch_dtype")])
    with pytest.raises(BadInput, match="names no dtype"):
        worker.make_settings(space(model=model).job())


def test_stored_bits_are_those_of_the_layers(tmp_path):
    byte = torch.uint8
    save_file(
        {
            "a.q_proj.weight": torch.zeros(512, 1, dtype=byte),  # 1024 weights of 4 bits
            "a.q_proj.weight.absmax": torch.zeros(16),
            "a.q_proj.weight.quant_state.bitsandbytes__nf4": torch.zeros(8, dtype=byte),
            "a.q_proj.bias": torch.zeros(32),
            "a.norm.weight": torch.zeros(32),
            "b.up_proj.weight": torch.zeros(32, 32, dtype=torch.int8),
            "b.up_proj.SCB": torch.zeros(32),
            "b.up_proj.weight_format": torch.zeros((), dtype=byte),
        },
        tmp_path / "model.safetensors",
    )
    files = [tmp_path / "model.safetensors"]
    assert worker.bits_per_weight(files, {"a.q_proj": 1024}) == 4 + 16 * 32 / 1024 + 64 / 1024
    assert worker.bits_per_weight(files, {"b.up_proj": 1024}) == 8 + 32 * 32 / 1024 + 8 / 1024


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("scheme", "double", "bits", "error"),
    [
        ("llm_int8", False, 9.3, 0.05),
        ("nf4", False, 9, 0.4),
        ("nf4", True, 30, 0.4),
    ],  # small layers, large tables
)
def test_the_checkpoint_is_near_the_model(space, tiny, scheme, double, bits, error):
    from transformers import AutoModelForCausalLM

    made = space(scheme=scheme, double_quant=double)
    done = made.run()
    assert done.code == 0, done.stderr
    assert done.metrics["quantized_layers"] == 14
    assert 4 < done.metrics["bits_per_weight"] < bits
    assert done.metrics["peak_gpu_bytes"] > 0
    out = made.out("model")
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "bitsandbytes"
    assert (out / "tokenizer.json").exists() == (tiny / "model" / "tokenizer.json").exists()
    ids = torch.arange(3, 67, device="cuda").view(2, 32)
    with torch.inference_mode():
        before = AutoModelForCausalLM.from_pretrained(tiny / "model").cuda()(ids).logits
        after = AutoModelForCausalLM.from_pretrained(out, device_map={"": 0})(ids).logits
    assert ((after - before).norm() / before.norm()).item() < error
