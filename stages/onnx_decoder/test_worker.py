import json
import re
import shutil
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    CompressedTensorsConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    MistralForCausalLM,
)
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import onnx
from lib.llm.contract import read_contract
from lib.onnx.decoder.check import check
from lib.onnx.decoder.rope import tables
from onnx_decoder import worker
from tinfra_worker import BadInput, Fault

SLOTS = 24


def written(space):
    """The output of an export that runs in this process, with the reused files where a reader finds them."""
    job = space.job()
    worker.main(job)
    out = space.out("model")
    for to, source in job.result.reused.items():
        shutil.copyfile(space.root / "in" / source, space.root / "out" / to)
    return out, job


class Cache:
    """A caller's cache for rows of different lengths, full of noise where nothing has been written."""

    def __init__(self, folder, batch, plainly=False, slots=SLOTS):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if plainly:  # else integer products of another way of rounding
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # Else onnxruntime joins DequantizeLinear and MatMul into one that rounds activations to 8 bits.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.lengths = np.zeros(batch, np.int64)
        noise = np.random.default_rng(0)
        types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        self.held = {
            i.name: noise.normal(size=(batch, i.shape[1], slots, i.shape[3])).astype(types[i.type])
            for i in self.session.get_inputs()
            if i.name.startswith("cache.")
        }

    def feed(self, ids, keep, rows=None):
        """Logits of tokens [B, S], of which the first keep[b] of a row count; the rest are padding behind them."""
        rows = np.arange(ids.shape[1]) if rows is None else np.array(rows)
        given = {"input_ids": ids, "lengths": self.lengths, "rows": rows, **self.held}
        out = dict(zip(self.outputs, self.session.run(None, given), strict=True))
        for name, held in self.held.items():
            new = out[name.replace("cache", "new")]
            for b, count in enumerate(keep):
                held[b, :, self.lengths[b] : self.lengths[b] + count] = new[b, :, :count]
        self.lengths = self.lengths + np.array(keep)
        return out["logits"].astype(np.float32)


def worst(folder, reference, seed=1, plainly=False):
    """Largest difference of logits from one pass of a reference over all: padded prefill, steps and chunks."""
    batch, total = 3, 18
    ids = np.random.default_rng(seed).integers(0, reference.config.vocab_size, (batch, total))
    with torch.no_grad():
        want = reference.eval()(torch.from_numpy(ids)).logits.float().numpy()
    cache, found = Cache(folder, batch, plainly), 0.0
    for size, keep in ((7, [3, 5, 7]), (1, [1, 1, 1]), (4, [2, 4, 3]), (1, [1, 1, 1]), (1, [1, 1, 1])):
        before = cache.lengths
        part = np.stack([np.resize(ids[b, n : n + size], size) for b, n in enumerate(before)])
        logits = cache.feed(part, keep)
        for b, count in enumerate(keep):
            difference = np.abs(logits[b, :count] - want[b, before[b] : before[b] + count]).max()
            found = max(found, float(difference))
    return found


FLOATS = {
    "plain": {},
    "a tied head": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "heads that share nothing": {"num_key_value_heads": 8},
    "one head for all": {"num_key_value_heads": 1},
    "heads of a size of their own": {"head_dim": 48},
}


@pytest.mark.parametrize("name", FLOATS)
def test_the_graph_computes_what_the_checkpoint_does(space, model, name):
    checkpoint = model(**FLOATS[name])
    out, _ = written(space(checkpoint))
    assert worst(out, AutoModelForCausalLM.from_pretrained(checkpoint)) < 1e-4  # of logits around 8


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize(
    "rope", [{"rope_type": "default", "rope_theta": 500000.0}, LLAMA3, LLAMA3 | {"rope_type": "yarn"}]
)
def test_positions_are_those_of_transformers(space, model, rope):
    config = LlamaConfig(head_dim=32, max_position_embeddings=64, rope_parameters=rope)
    want = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(64)[None])
    for table, whole in zip(tables(config), want, strict=True):
        assert np.abs(table - whole[0, :, :16].numpy()).max() < 2e-7
    checkpoint = model(rope_parameters=rope)
    out, _ = written(space(checkpoint))
    assert worst(out, AutoModelForCausalLM.from_pretrained(checkpoint)) < 1e-4


@pytest.mark.parametrize(
    ("stored", "dtype", "tolerance"),
    [("float16", "float16", 4e-2), ("bfloat16", "float32", 1e-4), ("bfloat16", "float16", 4e-2)],
)
def test_types_other_than_the_stored_one(space, model, stored, dtype, tolerance):
    """Against the stored numbers in float32; float16 rounds what lies between, of logits around 8."""
    checkpoint = model(stored)
    out, _ = written(space(checkpoint, dtype))
    assert worst(out, AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)) < tolerance
    graph = onnx.load(out / "model.onnx", load_external_data=False).graph
    assert {v.type.tensor_type.elem_type for v in graph.output} == {getattr(onnx.TensorProto, ONNX[dtype])}


ONNX = {"float16": "FLOAT16", "bfloat16": "BFLOAT16", "float32": "FLOAT"}


def read(checkpoint):
    """A checkpoint as transformers computes it, packed weights unpacked."""
    config = AutoModelForCausalLM.from_pretrained(checkpoint).config
    packed = getattr(config, "quantization_config", None)
    options = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if packed else {}
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, **options)


PACKED = {
    "symmetric": {},
    "asymmetric": {"symmetric": False},
    "small groups": {"groups": {"Linear": 32}},
    "asymmetric small groups bfloat16": {"symmetric": False, "groups": {"Linear": 32}, "dtype": "bfloat16"},
    "a projection and a layer left alone": {"ignore": ("lm_head", "re:.*v_proj", "re:.*layers.0.mlp.*")},
    "biases": {"attention_bias": True, "mlp_bias": True, "symmetric": False},
    "tied": {"tie_word_embeddings": True},
    "the head too": {"ignore": (), "vocab_size": 96},
}


@pytest.mark.parametrize("name", PACKED)
def test_int4_graphs_compute_what_the_checkpoint_does(space, packed, name):
    checkpoint = packed(**PACKED[name])
    out, _ = written(space(checkpoint))
    assert worst(out, read(checkpoint)) < 1e-4
    told = read_contract(out)
    assert (told.weights, told.symmetric) == ("int4", PACKED[name].get("symmetric", True))
    assert told.group == PACKED[name].get("groups", {"": 128}).popitem()[1] if "groups" in PACKED[name] else 128


EIGHT = {
    "plain": {},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "a projection and a layer left alone": {"ignore": ("lm_head", "re:.*v_proj", "re:.*layers.0.mlp.*")},
    "the head too": {"ignore": ()},
}


@pytest.mark.parametrize("name", EIGHT)
def test_int8_graphs_compute_what_the_checkpoint_does(space, eight, name):
    """transformers rounds inputs and weights as the graph does; a number near the middle of two may fall elsewhere."""
    checkpoint = eight(**EIGHT[name])
    out, _ = written(space(checkpoint))
    reference = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert worst(out, reference, plainly=True) < 0.1  # of logits around 8
    plain = AutoModelForCausalLM.from_pretrained(checkpoint.parent / "model1")
    assert worst(out, plain, plainly=True) > 0.1
    told = read_contract(out)
    assert (told.weights, told.group, told.symmetric) == ("int8", 0, True)


def test_int8_weights_are_not_copied(space, eight):
    checkpoint = eight()
    out, job = written(space(checkpoint, "float16"))
    graph = onnx.load(out / "model.onnx", load_external_data=False).graph
    places = {t.name: {e.key: e.value for e in t.external_data} for t in graph.initializer if t.external_data}
    assert places["model.layers.1.mlp.up_proj.weight"]["location"] == "model.safetensors"
    assert job.result.metrics["added_bytes"] < 64 * 1024
    assert sum(n.op_type == "QuantizeLinear" for n in graph.node) == 2 * 4  # q, k and v round their input once


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("weights", {"strategy": "tensor"}),
        ("weights", {"num_bits": 4}),
        ("input_activations", {"dynamic": True}),
        ("input_activations", {"strategy": "token"}),
        ("input_activations", {"symmetric": False}),
    ],
)
def test_other_kinds_of_8_bits_are_refused(space, eight, part, changes):
    checkpoint = eight()
    config = json.loads((checkpoint / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"][part].update(changes)
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=part):
        written(space(checkpoint))


def test_a_bfloat16_graph(space, model):
    """No library here runs bfloat16 on the CPU but onnx's own reference, which rounds after each node."""
    checkpoint = model("bfloat16")
    out, _ = written(space(checkpoint, "bfloat16"))
    session = ReferenceEvaluator(str(out / "model.onnx"))
    ids = np.arange(6)[None]
    held = {name: np.ones((1, 2, 8, 32), ml_dtypes.bfloat16) for name in session.input_names if "cache" in name}
    given = {"input_ids": ids, "lengths": np.zeros(1, np.int64), "rows": np.arange(6), **held}
    logits = session.run(["logits"], given)[0].astype(np.float32)
    with torch.no_grad():
        want = read(checkpoint)(torch.from_numpy(ids)).logits.numpy()
    assert np.abs(logits - want).max() < 0.3  # of 8: bfloat16 has 8 bits


def test_rows_choose_what_gives_logits(space, model):
    checkpoint = model()
    out, _ = written(space(checkpoint))
    ids = np.arange(14).reshape(2, 7)
    whole = Cache(out, 2).feed(ids, [7, 7])
    assert whole.shape == (2, 7, 97)
    some = Cache(out, 2).feed(ids, [7, 7], rows=[6, 0])
    assert np.abs(some - whole[:, [6, 0]]).max() < 1e-5


def test_what_is_written(space, packed, tiny, read_tree):
    checkpoint = packed(symmetric=False, groups={"Linear": 32})
    trees = []
    for _ in range(2):
        made = space(checkpoint, "bfloat16", tiny / "tokenizer")
        done = made.run()
        assert done.code == 0, done.stderr[-4000:]
        assert done.result["reused"] == {"model/model.safetensors": "model/model.safetensors"}
        assert not (made.out("model") / "model.safetensors").exists()
        trees.append(read_tree(made.out("model")))
    assert trees[0] == trees[1]
    assert trees[0]["config.json"] == (checkpoint / "config.json").read_bytes()
    assert trees[0]["tokenizer.json"] == (tiny / "tokenizer" / "tokenizer.json").read_bytes()
    told = read_contract(made.out("model"))
    assert (told.group, told.symmetric, told.weights, told.dtype, told.ends) == (32, False, "int4", "bfloat16", (1,))
    new = sum(len(trees[0][name]) for name in ("model.onnx", "added.safetensors"))
    assert done.metrics["added_bytes"] == new
    assert done.metrics["size_bytes"] == new + (checkpoint / "model.safetensors").stat().st_size
    layer = 256 * 256 * 2 + 256 * 64 * 2 + 256 * 384 * 3
    assert told.weight_bytes == 2 * layer * (0.5 + 2 * 2 / 32) + 2 * (97 * 256 + 5 * 256)


def test_integers_are_the_checkpoints(space, packed):
    """Value for value: what DequantizeLinear gives is what compressed-tensors unpacks, in float32."""
    checkpoint = packed(groups={"Linear": 32})
    out, _ = written(space(checkpoint))
    with safe_open(out / "added.safetensors", framework="pt") as added:
        held, scale = added.get_tensor("layers.1.down.int4"), added.get_tensor("layers.1.down.scale")
    nibbles = torch.stack((held & 15, held >> 4), -1).flatten(1).to(torch.int8)
    signed = torch.where(nibbles > 7, nibbles - 16, nibbles)
    want = read(checkpoint).model.layers[1].mlp.down_proj.weight
    assert torch.equal((signed.view(12, 32, 256) * scale[:, None]).view(384, 256).T, want)


def test_mistral(space, tmp_path, write_model):
    checkpoint = write_model(tmp_path / "mistral", kind=MistralForCausalLM, sliding_window=None)
    out, _ = written(space(checkpoint))
    assert worst(out, read(checkpoint)) < 1e-4
    with pytest.raises(BadInput, match="sliding window"):
        written(space(write_model(tmp_path / "sliding", kind=MistralForCausalLM, sliding_window=8)))


def test_models_that_have_no_graph(space, model, tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        tmp_path / "gpt2"
    )
    with pytest.raises(BadInput, match="GPT2LMHeadModel"):
        written(space(tmp_path / "gpt2"))
    with pytest.raises(BadInput, match="dynamic"):
        written(space(model(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})))
    with pytest.raises(BadInput, match="silu"):
        written(space(model(hidden_act="gelu")))


def edited(source, folder, change):
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


UP = "model.layers.0.mlp.up_proj"
DAMAGES = {
    "no tensor model.norm.weight": lambda t: t.pop("model.norm.weight"),
    "lm_head.weight has shape": lambda t: t.update({"lm_head.weight": torch.zeros(97, 128)}),
    "stored as F64": lambda t: t.update({"lm_head.weight": torch.zeros(97, 256, dtype=torch.float64)}),
    f"no tensor {UP}.weight_scale": lambda t: t.pop(f"{UP}.weight_scale"),
    f"{UP} has scales of shape": lambda t: t.update({f"{UP}.weight_scale": torch.ones(384, 3)}),
    f"{UP}.weight_packed has shape": lambda t: t.update({f"{UP}.weight_packed": torch.zeros(384, 4).int()}),
    "do not lie in order": lambda t: t.update({f"{UP}.weight_g_idx": torch.zeros(256).int()}),
    "float16 cannot hold": lambda t: t.update({f"{UP}.weight_scale": torch.full((384, 2), 1e-7)}),
}


@pytest.mark.parametrize("says", DAMAGES)
def test_damaged_checkpoints(space, packed, tmp_path, says):
    with pytest.raises(BadInput, match=re.escape(says)) as refused:
        written(space(edited(packed(), tmp_path / "damaged", DAMAGES[says]), "float16"))
    assert refused.value.port == "model"


def test_groups_of_two_sizes_are_refused(space, packed):
    groups = {"re:.*self_attn.*": 32, "re:.*mlp.*": 128}
    with pytest.raises(BadInput, match="several sizes"):
        written(space(packed(groups=groups)))


def test_a_graph_that_is_not_what_was_asked_for_fails(space, model):
    out, job = written(space(model()))
    told, source = read_contract(out), job.input("model")
    check(out, source, told)
    for wrong in ({"layers": 3}, {"kv_heads": 8}, {"vocabulary": 96}, {"weights": "int4"}):
        with pytest.raises(Fault, match="not what was asked for"):
            check(out, source, replace(told, **wrong))
    (out / "added.safetensors").write_bytes(b"short")
    with pytest.raises(Fault, match="not that long"):
        check(out, source, told)


@pytest.mark.gpu
def test_a_gpu_packs_the_same_bytes(space, packed, read_tree):
    checkpoint = packed(symmetric=False, groups={"Linear": 32})
    trees = []
    for gpus in (["0"], []):
        made = space(checkpoint, "float16")
        made.request["resources"]["gpus"] = gpus
        job = made.job()
        worker.main(job)
        trees.append(read_tree(made.out("model")))
    assert trees[0] == trees[1]


def products(out):
    """The types that products by weights multiply in and that their nodes hand out, by the graph alone."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(out / "model.onnx", load_external_data=False)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    made = {node.output[0]: node for node in graph.node}
    return {
        (types[n.output[0]], made[n.input[0]].op_type, made[n.input[1]].op_type)
        for n in graph.node
        if n.op_type == "MatMul"
    }


def test_float16_is_summed_in_float32_unless_it_is_not_wanted(space, model, packed):
    half, real = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for checkpoint in (model("bfloat16"), packed()):
        asked = space(checkpoint, "float16")
        assert {(kind, *casts) for kind, *casts in products(written(asked)[0])} == {(real, "Cast", "Cast")}
        asked = space(checkpoint, "float16")
        asked.request["params"]["accumulate"] = "dtype"
        assert {kind for kind, *_ in products(written(asked)[0])} == {half}
    asked = space(model("bfloat16"), "bfloat16")  # which TensorRT sums in float32 anyway
    assert {kind for kind, *_ in products(written(asked)[0])} == {onnx.TensorProto.BFLOAT16}
