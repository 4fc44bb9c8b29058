import importlib.util
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import onnx
from lib.llm.runner import open_runner
from lib.onnx.graph import read_graph
from tinfra_worker import BadInput, BadParam, Fault

# Not `import onnx.worker`: that name is the library's.
_spec = importlib.util.spec_from_file_location("onnx_worker", Path(__file__).with_name("worker.py"))
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

TOLERANCE = 2e-5  # float32 sums in another order; logits are around 10


def run(folder):
    job = SimpleNamespace(input=lambda port: folder, cpus=1, request=SimpleNamespace(gpus=[]))
    return open_runner(job, "model", "float32")


def differences(graph, checkpoint, batch, length, steps):
    """Largest difference of the prefill and of the steps through the cache from one pass over all."""
    ids = np.random.default_rng(length).integers(0, 320, (batch, length + steps))
    want, _ = run(checkpoint).forward(ids)
    runner = run(graph)
    got, past = runner.forward(ids[:, :length])
    prefill, decode = np.abs(got - want[:, :length]).max(), 0.0
    for n in range(length, length + steps):
        got, past = runner.forward(ids[:, n : n + 1], past)
        decode = max(decode, np.abs(got - want[:, n : n + 1]).max())
    return prefill, decode


def exported(space, model, **params):
    """Folder and job of an export that is run in this process: starting one takes longer than all the rest."""
    made = space(model, **params)
    job = made.job()
    worker.main(job)
    return made.out("model"), job


CHECKPOINTS = {
    "symmetric": {},
    "asymmetric": {"symmetric": False},
    "tied": {"tie_word_embeddings": True},
    "asymmetric tied bfloat16": {"symmetric": False, "tie_word_embeddings": True, "dtype": "bfloat16"},
    "a projection and a layer left alone": {"ignore": ("lm_head", "re:.*v_proj", "re:.*layers.0.mlp.*")},
    "groups of two sizes": {"groups": {"re:.*self_attn.*": 32, "re:.*mlp.*": 16}, "ignore": ("lm_head",)},
    "biases": {"attention_bias": True, "mlp_bias": True, "symmetric": False},
    "the head too": {"ignore": ()},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_int4_graphs_compute_what_the_checkpoint_does(space, packed, name):
    checkpoint = packed(**CHECKPOINTS[name])
    graph, _ = exported(space, checkpoint)
    for batch, length, steps in ((1, 23, 3), (3, 8, 5)):
        prefill, decode = differences(graph, checkpoint, batch, length, steps)
        assert prefill < TOLERANCE
        assert decode < TOLERANCE


@pytest.mark.parametrize(("tied", "dtype"), [(False, "float32"), (True, "float32"), (False, "bfloat16")])
def test_float_graphs_compute_what_the_checkpoint_does(space, plain, tied, dtype):
    checkpoint = plain(dtype, tie_word_embeddings=tied)
    graph, job = exported(space, checkpoint, precision="float32")
    assert max(differences(graph, checkpoint, 2, 17, 4)) < TOLERANCE
    assert job.result.metrics["matmul_nbits"] == 0
    found = read_graph(graph)
    assert found.head == "MatMul"
    # A tied matrix is stored once.
    weights = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(checkpoint).parameters())
    assert 4 * weights < (graph / "model.onnx.data").stat().st_size < 4 * (weights + 320 * 64)


def test_integers_scales_and_zero_points_are_the_checkpoints(space, packed):
    checkpoint = packed(symmetric=False)
    graph, _ = exported(space, checkpoint)
    tensors = load_file(checkpoint / "model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    want = unpack_from_int32(tensors[f"{name}.weight_packed"], 4, torch.Size((64, 80))) + 8
    zeros = unpack_from_int32(tensors[f"{name}.weight_zero_point"], 4, torch.Size((64, 5)), packed_dim=0) + 8
    model = onnx.load(graph / "model.onnx")
    found = {
        t.name.removeprefix(f"{name}.MatMulNBits."): onnx.numpy_helper.to_array(t) for t in model.graph.initializer
    }
    weight, zero = found["qweight"].reshape(64, 40), found["qzeros"].reshape(64, 3)
    assert np.array_equal(np.stack([weight & 15, weight >> 4], -1).reshape(64, 80), want.numpy())
    assert np.array_equal(np.stack([zero & 15, zero >> 4], -1).reshape(64, 6)[:, :5], zeros.numpy())
    assert len(np.unique(zeros)) > 2
    # Float32, not narrowed on the way.
    assert np.array_equal(found["scales"].reshape(64, 5), tensors[f"{name}.weight_scale"].numpy())
    assert not np.array_equal(found["scales"].astype(np.float16).astype(np.float32), found["scales"])


@pytest.mark.parametrize("level", [1, 4])
def test_what_the_graph_says(space, packed, level):
    checkpoint = packed()
    graph, job = exported(space, checkpoint, accuracy_level=level)
    found = read_graph(graph)
    assert found.layers() == 2
    assert {(n.bits, n.block, n.accuracy_level) for n in found.packed} == {(4, 16, level)}
    assert job.result.metrics["matmul_nbits"] == len(found.packed) == 2 * 5  # q, k and v are one
    assert found.head == "MatMul"
    assert set(found.files) == {"model.onnx.data"}
    assert job.result.metrics["size_bytes"] == sum(p.stat().st_size for p in graph.glob("model.onnx*"))
    assert (graph / "config.json").read_bytes() == (checkpoint / "config.json").read_bytes()
    assert found.producer == "onnxruntime-genai 0.18.0"


@pytest.mark.parametrize(
    ("head", "level", "nodes", "most"),
    [("int8", 1, (8, 16, 4), 0.2), ("int4", 1, (4, 16, 1), 3), ("int4", 4, (4, 16, 4), 3)],
)
def test_rounded_heads(space, packed, head, level, nodes, most):
    checkpoint = packed(tie_word_embeddings=True)
    graph, _ = exported(space, checkpoint, lm_head=head, accuracy_level=level)
    found = read_graph(graph)
    assert found.head == f"MatMulNBits {head[3:]}"
    (node,) = [n for n in found.packed if n.outputs == 320]
    assert (node.bits, node.block, node.accuracy_level) == nodes
    difference = max(differences(graph, checkpoint, 1, 20, 2))
    assert TOLERANCE < difference < most


def test_two_exports_are_equal(space, packed, read_tree):
    checkpoint = packed(symmetric=False, tie_word_embeddings=True)
    trees = []
    for _ in range(2):
        made = space(checkpoint, lm_head="int8")
        done = made.run()
        assert done.code == 0, done.stderr[-4000:]
        assert "Saving model.embed" not in done.stderr  # a line for each tensor, of a bar without a terminal
        trees.append(read_tree(made.out("model")))
    assert trees[0] == trees[1]


def test_genai_generates_what_transformers_does(space, plain, tiny):
    import onnxruntime_genai as og

    checkpoint = plain()
    graph, _ = exported(space, checkpoint, precision="float32", tokenizer=tiny / "tokenizer")
    start = [5, 77, 190, 33]
    params = og.GeneratorParams(og.Model(str(graph)))
    params.set_search_options(max_length=24, do_sample=False)
    generator = og.Generator(og.Model(str(graph)), params)
    generator.append_tokens(np.array(start, np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    want = model.generate(torch.tensor([start]), max_length=24, do_sample=False)[0].tolist()
    assert generator.get_sequence(0).tolist() == want


@pytest.mark.parametrize("name", ["TokenizersBackend", "GPT2Tokenizer", "SomebodysTokenizer"])
def test_genai_reads_the_tokenizer_as_tokenizers_does(space, plain, tiny, tmp_path, name):
    import onnxruntime_genai as og
    from tokenizers import Tokenizer

    source = tmp_path / "tokenizer"
    shutil.copytree(tiny / "tokenizer", source)
    config = json.loads((source / "tokenizer_config.json").read_text()) | {"tokenizer_class": name}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    graph, _ = exported(space, plain(), precision="float32", tokenizer=source)
    assert (graph / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    written = json.loads((graph / "tokenizer_config.json").read_text())
    assert {k for k in written if written[k] != config.get(k)} <= {"tokenizer_class"}
    text = (tiny / "text" / "text.txt").read_text()[:5000] + " naïve 2026\n\n\t東京"
    want = Tokenizer.from_file(str(source / "tokenizer.json")).encode(text).ids
    assert og.Tokenizer(str(graph)).encode(text).tolist() == want


def test_a_tokenizer_that_genai_cannot_read_is_left_as_it_is(space, plain, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    source = tmp_path / "tokenizer"
    source.mkdir()
    words = Tokenizer(models.WordLevel({"Hello": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(source / "tokenizer.json"))
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    made = space(plain(), precision="float32", tokenizer=source)
    worker.main(made.job())
    graph = made.out("model")
    assert [e["level"] for e in made.events() if e["type"] == "log"] == ["warning"]
    for file in source.iterdir():
        assert (graph / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("quantized", "params", "param"),
    [
        (True, {"precision": "float32"}, "precision"),
        (False, {"precision": "int4"}, "precision"),
        (False, {"precision": "float32", "lm_head": "int4"}, "lm_head"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_refused(space, plain, packed, quantized, params, param):
    with pytest.raises(BadParam) as refused:
        exported(space, packed() if quantized else plain(), **params)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_bits": 8}, "8-bit"),
        ({"num_bits": 2}, "2-bit"),
        ({"type": "float"}, "4-bit float"),
        ({"group_size": 8}, "power of two from 16"),
        ({"group_size": 48}, "power of two from 16"),
        ({"strategy": "channel", "group_size": None}, "strategy channel"),
        ({"actorder": "group"}, "actorder group"),
        ({"input_activations": {"num_bits": 8}}, "activations"),
        ({"format": "float-quantized"}, "float-quantized"),
        ({"quant_method": "gptq"}, "quantized as gptq"),
    ],
)
def test_other_quantizations_are_refused(space, packed, tmp_path, changes, says):
    folder = tmp_path / "model"
    shutil.copytree(packed(), folder)
    config = json.loads((folder / "config.json").read_text())
    found = config["quantization_config"]
    for key, value in changes.items():
        group = found["config_groups"]["group_0"]
        owner = (
            found if key in ("format", "quant_method") else group if key == "input_activations" else group["weights"]
        )
        owner[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=re.escape(says)):
        exported(space, folder)


def edit(source, folder, change):
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


SCALE = "model.layers.0.mlp.up_proj.weight_scale"
DAMAGES = {
    "no scale": lambda t: t.pop(SCALE),
    "few scales": lambda t: t.update({SCALE: t[SCALE][:, :2].contiguous()}),
    "scales of another layer": lambda t: t.update({SCALE: t[SCALE][:16].contiguous()}),
    "another shape": lambda t: t.update({SCALE.replace("scale", "shape"): torch.tensor([80, 48])}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints(space, packed, tmp_path, damage):
    with pytest.raises(BadInput) as refused:
        exported(space, edit(packed(), tmp_path / "model", DAMAGES[damage]))
    assert refused.value.port == "model"


def test_damaged_files(space, plain, tiny, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(plain(), cut)
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[: len(data) // 2])
    done = space(cut, precision="float32").run()
    assert (done.code, done.problem["input"]) == (11, "model")
    broken = tmp_path / "tokenizer"
    shutil.copytree(tiny / "tokenizer", broken)
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        exported(space, plain(), precision="float32", tokenizer=broken)


def test_an_architecture_that_the_builder_does_not_know(space, tmp_path):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    model.save_pretrained(tmp_path / "gpt2")
    with pytest.raises(BadInput, match="cannot export"):
        exported(space, tmp_path / "gpt2", precision="float32")


def test_a_layer_that_passes_for_the_head(space, plain):
    with pytest.raises(BadInput, match="passes for the head"):
        exported(space, plain(intermediate_size=320), precision="float32")


def test_a_graph_that_is_not_what_was_asked_for_fails(space, packed):
    checkpoint = packed()
    made = space(checkpoint)
    job = made.job()
    worker.main(job)
    model = worker.load_model(job, "model", "auto")
    layers = worker.attach(model, "model")
    weights = worker.float_weights(model)
    graph, asked = read_graph(made.out("model")), worker.Options(packed=True, head="keep", accuracy_level=1)
    worker.check(graph, made.out("model"), layers, dict(weights), asked)
    for wrong in (replace(asked, accuracy_level=4), replace(asked, head="int4"), replace(asked, packed=False)):
        with pytest.raises(Fault, match="another graph"):
            worker.check(graph, made.out("model"), [] if not wrong.packed else layers, dict(weights), wrong)
    with pytest.raises(Fault, match="4-bit weights"):
        worker.check(graph, made.out("model"), layers[1:], dict(weights), asked)
    (made.out("model") / "model.onnx.data").write_bytes(b"short")
    with pytest.raises(Fault, match="5 bytes"):
        worker.check(graph, made.out("model"), layers, dict(weights), asked)
