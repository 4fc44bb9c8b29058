"""convert_pickle at toy size: the same logits, and no code of a pickle run."""

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM


def model_of(tie):
    torch.manual_seed(7)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, tie_word_embeddings=tie, **sizes))


@pytest.fixture
def folder(tmp_path):
    """A folder as an old transformers wrote it; `save` puts weights into it."""
    made = tmp_path / "old"
    made.mkdir()
    return made


def save(folder, model, state=None, **how):
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    torch.save(model.state_dict() if state is None else state, folder / "pytorch_model.bin", **how)


@pytest.fixture
def convert(workspace):
    def go(folder):
        space = workspace()
        space.add_input("files", folder, "files")
        space.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf"}
        return space, space.run()

    return go


def logits(folder):
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        return loaded(torch.arange(12).reshape(2, 6)).logits


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_same_logits(convert, folder, tie, zipped):
    model = model_of(tie)
    save(folder, model, _use_new_zipfile_serialization=zipped)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"x")
    space, done = convert(folder)
    assert done.code == 0, done.events
    with torch.no_grad():
        want = model.eval()(torch.arange(12).reshape(2, 6)).logits
    assert torch.equal(logits(space.out("model")), want)
    assert done.metrics == {"parameters": model.num_parameters()}
    names = {p.name for p in space.out("model").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors"}
    assert ("lm_head.weight" in load_file(space.out("model") / "model.safetensors")) is not tie
    assert [p.name for p in space.out("tokenizer").iterdir()] == ["tokenizer.json"]


def test_types_stay(convert, folder):
    model = model_of(tie=False).to(torch.bfloat16)
    save(folder, model)
    space, done = convert(folder)
    assert done.code == 0, done.events
    assert {t.dtype for t in load_file(space.out("model") / "model.safetensors").values()} == {torch.bfloat16}


def test_shards(convert, folder):
    model = model_of(tie=False)
    save(folder, model)
    (folder / "pytorch_model.bin").unlink()
    state = model.state_dict()
    names = sorted(state)
    weight_map = {}
    for n, part in enumerate((names[:10], names[10:]), 1):
        file = f"pytorch_model-{n:05d}-of-00002.bin"
        torch.save({k: state[k] for k in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    space, done = convert(folder)
    assert done.code == 0, done.events
    index = json.loads((space.out("model") / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in state.values())
    assert set(index["weight_map"].values()) == {f"model-{n:05d}-of-00002.safetensors" for n in (1, 2)}
    with torch.no_grad():
        want = model.eval()(torch.arange(12).reshape(2, 6)).logits
    assert torch.equal(logits(space.out("model")), want)

    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {**weight_map, "more.weight": "x"}}))
    assert "more.weight, which no file holds" in convert(folder)[1].problem["message"]
    (folder / "pytorch_model-00001-of-00002.bin").unlink()
    space, done = convert(folder)
    assert done.code == 11
    assert "pytorch_model-00001-of-00002.bin is missing" in done.problem["message"]


def test_shared_memory_that_the_config_does_not_tie(convert, folder):
    """Both names must come: the loader would fill the other with random numbers."""
    model = model_of(tie=False)
    state = model.state_dict()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    base = torch.randn(2, 32)
    state["model.norm.weight"] = base[0]  # a part of a larger memory
    state["model.layers.0.input_layernorm.weight"] = base[1]
    state["model.layers.0.mlp.down_proj.weight"] = state["model.layers.0.mlp.down_proj.weight"].t().contiguous().t()
    state["model.layers.0.mlp.up_proj.weight"] = torch._neg_view(state["model.layers.0.mlp.up_proj.weight"])
    save(folder, model, state)
    space, done = convert(folder)
    assert done.code == 0, done.events
    made = load_file(space.out("model") / "model.safetensors")
    assert made.keys() == state.keys()
    assert all(torch.equal(made[k], state[k]) for k in state)


class Evil:
    """Touches a file when it is loaded without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("shape", ["tensor", "plain", "zip", "old"])
def test_code_is_not_run(convert, folder, tmp_path, shape):
    mark = tmp_path / "executed"
    evil = Evil(mark)
    model = model_of(tie=False)
    save(folder, model)
    path = folder / "pytorch_model.bin"
    if shape == "plain":
        path.write_bytes(pickle.dumps(evil))
    else:
        state = {**model.state_dict(), "evil": evil} if shape == "tensor" else evil
        torch.save(state, path, _use_new_zipfile_serialization=shape != "old")
    _, done = convert(folder)
    assert done.code == 11, done.stderr
    assert not mark.exists()
    assert done.problem["input"] == "files"
    assert "no pickle of tensors only" in done.problem["message"]
    assert "not run" in done.problem["hint"]
    assert done.result is None
    # The trap is a real one: loaded without care, the file does run its code.
    torch.load(path, weights_only=False) if shape != "plain" else pickle.loads(path.read_bytes())
    assert mark.exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "pytorch_model.bin").write_bytes(b""), "damaged"),
        (lambda f: os.truncate(f / "pytorch_model.bin", 2000), "damaged"),
        (lambda f: (f / "config.json").unlink(), "0 folders hold"),
        (lambda f: (f / "config.json").write_text('{"model_type": "nosuch"}'), "not that of a causal LM"),
        (lambda f: torch.save([1, 2], f / "pytorch_model.bin"), "holds a list"),
        (lambda f: torch.save({"a": 1}, f / "pytorch_model.bin"), "'a' is a int"),
        (lambda f: torch.save({}, f / "pytorch_model.bin"), "holds no tensor"),
        (lambda f: torch.save({"a": torch.eye(3).to_sparse()}, f / "pytorch_model.bin"), "'a' is sparse"),
        (lambda f: torch.save({"a": torch.empty(3, device="meta")}, f / "pytorch_model.bin"), "'a' is without data"),
        (lambda f: shutil.copytree(f, f / "again"), "2 folders hold"),
    ],
)
def test_bad_inputs(convert, folder, spoil, says):
    save(folder, model_of(tie=False))
    spoil(folder)
    _, done = convert(folder)
    assert done.code == 11, done.stderr
    assert says in done.problem["message"]
