import json

import pytest

SHAPE = {
    "seed": 3,
    "shape": "toy",
    "hidden": 32,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "intermediate": 48,
    "vocab": 300,
    "context": 128,
    "tie_embeddings": False,
    "dtype": "float32",
    "text_bytes": 4000,
}


@pytest.fixture
def space(workspace):
    def make(**params):
        made = workspace()
        made.request["params"] = SHAPE | params
        made.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf", "text": "dataset/text"}
        return made

    return make


def test_equal_params_give_equal_bytes(space, read_tree):
    first, second, other = space(), space(), space(seed=4)
    for s in (first, second, other):
        done = s.run()
        assert done.code == 0, done.stderr
        assert done.result["labels"] == {"synthetic": "true"}
    assert read_tree(first.root / "out") == read_tree(second.root / "out")
    for name in ("model/model.safetensors", "text/text.txt"):
        assert read_tree(first.root / "out")[name] != read_tree(other.root / "out")[name]


@pytest.mark.parametrize(("dtype", "tied"), [("bfloat16", True), ("float32", False)])
def test_model_is_what_transformers_would_make(space, dtype, tied):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    s = space(dtype=dtype, tie_embeddings=tied)
    done = s.run()
    assert done.code == 0, done.stderr
    model, info = AutoModelForCausalLM.from_pretrained(s.out("model"), output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.dtype == getattr(torch, dtype)
    assert done.metrics["parameters"] == model.num_parameters()
    assert 0.0195 < model.model.layers[0].mlp.up_proj.weight.float().std() < 0.0205
    text = (s.out("text") / "text.txt").read_text()
    assert len(text) >= SHAPE["text_bytes"]
    tokenizer = AutoTokenizer.from_pretrained(s.out("tokenizer"))
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]) == text
    assert ids.max() < SHAPE["vocab"]
    assert len(text) / ids.shape[1] > 1.2  # merges are used
    assert tokenizer.eos_token_id == model.config.eos_token_id
    assert torch.isfinite(model(ids[:, :64]).logits).all()


def test_large_models_are_sharded(space, monkeypatch):
    from transformers import AutoModelForCausalLM

    from synthetic import weights, worker

    s = space()
    job = s.job()
    monkeypatch.setattr(worker, "Writer", lambda *given: weights.Writer(*given, shard=40_000))
    worker.main(job)
    index = json.loads((s.out("model") / "model.safetensors.index.json").read_text())
    files = {p.name for p in s.out("model").glob("*.safetensors")}
    assert set(index["weight_map"].values()) == files
    assert len(files) > 2
    model, info = AutoModelForCausalLM.from_pretrained(s.out("model"), output_loading_info=True)
    assert not info["missing_keys"]
    assert model.num_parameters() == job.result.metrics["parameters"]


@pytest.mark.parametrize(("params", "name"), [({"hidden": 36}, "hidden"), ({"kv_heads": 3}, "kv_heads")])
def test_shape_that_cannot_be(space, params, name):
    done = space(**params).run()
    assert done.code == 10
    assert done.problem["param"] == name


def test_cancel(space):
    s = space(hidden=2048, heads=16, intermediate=8192, layers=40)
    done = s.cancel_at(lambda events: any(e.get("what") == "drawing weights" for e in events))
    assert done.code == 143
    assert done.result is None
