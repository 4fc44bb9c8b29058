import pytest
import torch
from safetensors import safe_open

PARAMS = {"bits": 4, "group_size": 16, "symmetric": True, "observer": "minmax", "rest": "keep", "ignore": ["lm_head"]}


@pytest.fixture
def space(workspace, tiny):
    def make(**params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", tiny / "model", "model/hf")
        made.request["outputs"] = {"model": "model/hf"}
        return made

    return make


def unpacked(folder):
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=CompressedTensorsConfig(dequantize=True))


def nearest(weight, bits, symmetric):
    """Rounding to nearest as textbooks have it, group by group."""
    groups = weight.view(-1, PARAMS["group_size"])
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if symmetric:
        scale = groups.abs().amax(1, keepdim=True) / ((high - low) / 2)
        zero = torch.zeros_like(scale)
    else:
        smallest = groups.amin(1, keepdim=True).clamp(max=0)
        scale = (groups.amax(1, keepdim=True).clamp(min=0) - smallest) / (high - low)
        zero = (low - smallest / scale).round()
    return (((groups / scale + zero).round().clamp(low, high) - zero) * scale).view_as(weight)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_each_weight_goes_to_the_nearest_point(space, tiny, bits, symmetric):
    s = space(bits=bits, symmetric=symmetric)
    done = s.run()
    assert done.code == 0, done.stderr
    assert done.metrics["quantized_layers"] == 14
    # Zero points of 3 bits do not fill their words.
    ideal = bits + 32 / 16 + (0 if symmetric else bits / 16)
    assert ideal <= done.metrics["bits_per_weight"] <= ideal + (0 if symmetric or bits != 3 else 0.01)
    model = unpacked(s.out("model"))
    with safe_open(tiny / "model" / "model.safetensors", "pt") as f:
        for name in f.keys():  # noqa: SIM118 (not a dict)
            original, weight = f.get_tensor(name), model.get_parameter(name).detach()
            if name.endswith("_proj.weight"):
                torch.testing.assert_close(weight, nearest(original, bits, symmetric), atol=1e-6, rtol=1e-5)
            else:
                assert torch.equal(weight, original), name


def test_mse_leaves_a_smaller_error(space, tiny):
    errors = {}
    for observer in ("minmax", "mse"):
        s = space(bits=3, observer=observer)
        assert s.run().code == 0
        model = unpacked(s.out("model"))
        with safe_open(tiny / "model" / "model.safetensors", "pt") as f:
            names = [n for n in f.keys() if n.endswith("_proj.weight")]  # noqa: SIM118 (not a dict)
            errors[observer] = sum((model.get_parameter(n) - f.get_tensor(n)).square().sum().item() for n in names)
    assert errors["mse"] < 0.99 * errors["minmax"]


def test_twice_the_same_with_progress_and_tokenizer(space, tiny, tmp_path, read_tree):
    import shutil

    model = tmp_path / "model"
    shutil.copytree(tiny / "model", model)
    shutil.copy(tiny / "tokenizer" / "tokenizer.json", model / "tokenizer.json")
    trees = []
    for _ in range(2):
        s = space()
        (s.root / "in" / "model").unlink()
        (s.root / "in" / "model").symlink_to(model)
        done = s.run()
        assert done.code == 0, done.stderr
        trees.append(read_tree(s.out("model")))
    assert trees[0] == trees[1]
    assert trees[0]["tokenizer.json"] == (model / "tokenizer.json").read_bytes()
    assert "recipe.yaml" not in trees[0]
    bars = [(e["done"], e["total"], e["unit"]) for e in done.events if e["type"] == "progress"]
    assert bars[-1] == (14, 14, "linear layers")


def test_bad_param_has_the_exit_code(space):
    done = space(group_size=24).run()
    assert done.code == 10
    assert done.problem["param"] == "group_size"
