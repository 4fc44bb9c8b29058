import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import onnx
from lib.llm.runner import open_runner
from onnx import TensorProto, helper, numpy_helper
from tinfra_worker import BadInput, Resources

SHAPES = [(1, 1), (3, 17), (2, 60)]  # batch and length


def run(folder, dtype="float32"):
    job = SimpleNamespace(input=lambda port: folder, cpus=1, request=SimpleNamespace(gpus=[]))
    return open_runner(job, "model", dtype)


@pytest.fixture(scope="module")
def checkpoint(tiny):
    return run(tiny / "model")


@pytest.fixture(scope="module")
def graph(tiny_graph):
    return run(tiny_graph)


@pytest.fixture(params=["checkpoint", "graph"])
def runner(request, checkpoint, graph):
    return {"checkpoint": checkpoint, "graph": graph}[request.param]


def drawn(batch, length):
    return np.random.default_rng(length).integers(3, 300, (batch, length))


def test_what_it_is(checkpoint, graph):
    assert (checkpoint.vocabulary, checkpoint.dtype) == (300, "float32")
    assert (graph.vocabulary, graph.dtype) == (300, "float32")
    assert checkpoint.engine == "transformers 5.17.0 cpu float32"
    assert graph.engine == "onnxruntime 1.32.0 cpu"


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_logits_are_the_models(tiny, runner, batch, length):
    model = AutoModelForCausalLM.from_pretrained(tiny / "model").eval()
    ids = drawn(batch, length)
    with torch.no_grad():
        want = model(torch.from_numpy(ids)).logits.numpy()
    got, _ = runner.forward(ids)
    assert got.dtype == np.float32
    assert got.shape == (batch, length, 300)
    assert np.allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_through_the_cache_are_the_whole_pass(runner, batch):
    ids = drawn(batch, 30)
    want, _ = runner.forward(ids)
    part, past = runner.forward(ids[:, :20])
    parts = [part]
    for at in range(20, 30):
        part, past = runner.forward(ids[:, at : at + 1], past)
        parts.append(part)
    assert np.allclose(np.concatenate(parts, axis=1), want, atol=1e-5)


def test_pieces_through_the_cache_are_the_whole_pass(runner):
    ids = drawn(1, 30)
    want, _ = runner.forward(ids)
    first, past = runner.forward(ids[:, :20])
    second, _ = runner.forward(ids[:, 20:], past)
    assert np.allclose(np.concatenate([first, second], axis=1), want, atol=1e-5)


@pytest.fixture(scope="module")
def absolute(tmp_path_factory):
    """A model whose positions are embedded: to one that rotates them it is all the same where they begin."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64)).save_pretrained(folder)
    return run(folder)


@pytest.mark.parametrize("positions", ["rotated", "embedded"])
def test_padding_before_the_text(checkpoint, absolute, positions):
    checkpoint = checkpoint if positions == "rotated" else absolute
    ids = drawn(2, 30)
    mask = np.ones((2, 30), np.int64)
    mask[1, :7] = 0
    got, past = checkpoint.forward(ids, mask=mask)
    alone, past_alone = checkpoint.forward(ids[1:, 7:])
    assert np.allclose(got[1, 7:], alone[0], atol=1e-5)
    step = drawn(2, 1)
    got, _ = checkpoint.forward(step, past, np.concatenate([mask, [[1], [1]]], axis=1))
    alone, _ = checkpoint.forward(step[1:], past_alone)
    assert np.allclose(got[1], alone[0], atol=1e-5)


def test_padding_behind_the_text(runner):
    ids = drawn(2, 30)
    mask = np.ones((2, 30), np.int64)
    mask[1, 23:] = 0
    got, _ = runner.forward(ids, mask=mask)
    alone, _ = runner.forward(ids[1:, :23])
    assert np.allclose(got[1, :23], alone[0], atol=1e-5)


def test_type_of_a_checkpoint(tiny):
    runner = run(tiny / "model", "bfloat16")
    logits, _ = runner.forward(drawn(1, 5))
    assert runner.dtype == "bfloat16"
    assert runner.engine.endswith(" cpu bfloat16")
    assert logits.dtype == np.float32


@pytest.mark.parametrize("symmetric", [True, False])
def test_packed_weights_are_those_that_transformers_unpacks_in_each_pass(tiny, tmp_path, symmetric):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    weights = QuantizationArgs(num_bits=4, symmetric=symmetric, strategy="group", group_size=16)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    modifier = QuantizationModifier(config_groups={"weights": scheme}, ignore=["lm_head"])
    model = oneshot(model=AutoModelForCausalLM.from_pretrained(tiny / "model"), recipe=[modifier])
    model.save_pretrained(tmp_path, save_compressed=True)

    ids = drawn(2, 20)
    with torch.no_grad():
        want = AutoModelForCausalLM.from_pretrained(tmp_path).eval()(torch.from_numpy(ids)).logits.numpy()
    runner = run(tmp_path)
    assert not any(name.endswith("packed") for name in runner.model.state_dict())  # unpacked once, on loading
    got, _ = runner.forward(ids)
    plain, _ = run(tiny / "model").forward(ids)
    assert np.allclose(got, want, atol=1e-5)
    assert not np.allclose(got, plain, atol=1e-3)


# Graphs that are none, or do harm.


def refused(folder, *says):
    with pytest.raises(BadInput) as e:
        run(folder)
    assert e.value.port == "model"
    for words in says:
        assert words in e.value.message


@pytest.fixture
def broken(tiny_graph, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_graph, folder)
    return folder


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"onnx" * 1000])
def test_no_graph(broken, content):
    (broken / "model.onnx").write_bytes(content)
    refused(broken, "model.onnx cannot be loaded")


def test_half_a_graph(broken):
    data = (broken / "model.onnx").read_bytes()
    (broken / "model.onnx").write_bytes(data[: len(data) // 2])
    refused(broken, "model.onnx cannot be loaded")


def test_half_its_tensors(broken):
    os.truncate(broken / "model.onnx.data", 1000)
    refused(broken, "model.onnx cannot be loaded", "out of bounds")


def test_no_tensors(broken):
    (broken / "model.onnx.data").unlink()
    refused(broken, "model.onnx cannot be loaded", "does not exist")


@pytest.mark.parametrize("text", ["{", "[]", '{"model": 3}', "{}"])
def test_genai_config(broken, text):
    (broken / "genai_config.json").write_text(text)
    refused(broken, "genai_config.json")  # the size of a head stands nowhere else


def relocate(folder, location):
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def test_tensors_above_the_folder(broken, tmp_path):
    shutil.copyfile(broken / "model.onnx.data", tmp_path / "secret")
    relocate(broken, "../secret")
    refused(broken, "model.onnx cannot be loaded", "escapes")


def test_tensors_at_an_absolute_path(broken, tmp_path):
    shutil.copyfile(broken / "model.onnx.data", tmp_path / "secret")
    relocate(broken, str(tmp_path / "secret"))
    refused(broken, "model.onnx cannot be loaded", "Absolute path")


def test_tensors_behind_a_link(broken, tmp_path):
    shutil.move(broken / "model.onnx.data", tmp_path / "secret")
    (broken / "model.onnx.data").symlink_to(tmp_path / "secret")
    refused(broken, "model.onnx cannot be loaded", "escapes")


# Graphs made by hand, of what the builder's have not.


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name, *values, kind=np.int64):
    return numpy_helper.from_array(np.array(values, kind), name)


def save(folder, inputs, nodes, outputs, constants=()):
    made = helper.make_graph([helper.make_node(*n[:3], **(n[3] if n[3:] else {})) for n in nodes], "g", inputs, outputs)
    made.initializer.extend(constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


IDS = value("input_ids", TensorProto.INT64, "b", "l")
LOGITS = value("logits", TensorProto.FLOAT, "b", "l", 300)


def save_positions(folder, kind=TensorProto.FLOAT16, extra=(), logits="logits"):
    """Logits [b, l, 2] are the position and how many tokens are attended to; the cache keeps the ids, [b, 1, p, 1]."""
    save(
        folder,
        [
            IDS,
            value("attention_mask", TensorProto.INT64, "b", "t"),
            value("position_ids", TensorProto.INT64, "b", "l"),
            value("past_key_values.0.key", kind, "b", 1, "p", 1),
            *extra,
        ],
        [
            ("Unsqueeze", ["position_ids", "last"], ["position"]),
            ("ReduceSum", ["attention_mask", "last"], ["attended"], {"keepdims": 1}),
            ("Unsqueeze", ["attended", "last"], ["attended_3d"]),
            ("Shape", ["position"], ["shape"]),
            ("Expand", ["attended_3d", "shape"], ["attended_each"]),
            ("Concat", ["position", "attended_each"], ["both"], {"axis": 2}),
            ("Cast", ["both"], [logits], {"to": kind}),
            ("Cast", ["input_ids"], ["ids_cast"], {"to": kind}),
            ("Unsqueeze", ["ids_cast", "key_axes"], ["ids_4d"]),
            ("Concat", ["past_key_values.0.key", "ids_4d"], ["present.0.key"], {"axis": 2}),
        ],
        [value(logits, kind, "b", "l", 2), value("present.0.key", kind, "b", 1, "t", 1)],
        [constant("last", -1), constant("key_axes", 1, 3)],
    )


def test_positions_count_from_the_first_token_and_halves_are_widened(tmp_path):
    save_positions(tmp_path)
    runner = run(tmp_path)
    assert (runner.vocabulary, runner.dtype) == (2, "float16")
    ids = np.array([[5, 6, 7], [0, 0, 8]])
    logits, past = runner.forward(ids, mask=np.array([[1, 1, 1], [0, 0, 1]]))
    assert logits.dtype == np.float32
    assert logits[:, :, 0].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert logits[:, :, 1].tolist() == [[3, 3, 3], [1, 1, 1]]
    logits, past = runner.forward(np.array([[1], [2]]), past, np.array([[1, 1, 1, 1], [0, 0, 1, 1]]))
    assert logits[:, 0].tolist() == [[3, 4], [1, 2]]
    assert past["past_key_values.0.key"].numpy()[:, 0, :, 0].tolist() == [[5, 6, 7, 1], [0, 0, 8, 2]]
    logits, _ = runner.forward(np.array([[3]]))
    assert logits.tolist() == [[[0, 1]]]


def test_types_that_are_not_run(tmp_path):
    save_positions(tmp_path, TensorProto.DOUBLE)
    refused(tmp_path, "tensor(double)", "float32 and float16")


def test_inputs_that_no_language_model_has(tmp_path):
    save_positions(tmp_path, extra=[value("pixels", TensorProto.FLOAT, "b", 3)])
    refused(tmp_path, "pixels")


def test_a_graph_of_something_else(tmp_path):
    save(tmp_path, [IDS], [("Identity", ["input_ids"], ["labels"])], [value("labels", TensorProto.INT64, "b", "l")])
    refused(tmp_path, "lacks logits")


def test_a_cache_that_is_not_given_back(tmp_path):
    past = value("past_key_values.0.key", TensorProto.FLOAT, "b", 1, "p", 4)
    cast = ("Cast", ["input_ids"], ["logits"], {"to": TensorProto.FLOAT})
    save(tmp_path, [IDS, past], [cast], [value("logits", TensorProto.FLOAT, "b", "l")])
    refused(tmp_path, "lacks present.0.key")


def test_a_constant_with_tensors_elsewhere(tmp_path):
    """Tensors stand in attributes too, not among the initializers only."""
    folder = tmp_path / "graph"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(np.zeros(300, np.float32).tobytes())
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[300], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    nodes = [
        ("Constant", [], ["row"], {"value": tensor}),
        ("Cast", ["input_ids"], ["cast"], {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["cast", "last"], ["each"]),
        ("Add", ["each", "row"], ["logits"]),
    ]
    save(folder, [IDS], nodes, [LOGITS], [constant("last", -1)])
    refused(folder, "model.onnx cannot be loaded", "escapes")


def test_more_than_the_memory(tmp_path):
    nodes = [("Expand", ["one", "shape"], ["logits"])]
    constants = [constant("one", 1, kind=np.float32), constant("shape", 1, 1 << 25, 1 << 28)]
    save(tmp_path, [IDS], nodes, [value("logits", TensorProto.FLOAT, 1, 1 << 25, 1 << 28)], constants)
    # The shape is known before anything runs, so onnxruntime folds it, and fails, on loading.
    with pytest.raises(Resources, match="out of memory"):
        run(tmp_path).forward(np.array([[1]]))


def test_a_graph_that_fails_when_run(tmp_path):
    nodes = [
        ("Cast", ["input_ids"], ["cast"], {"to": TensorProto.FLOAT}),
        ("Reshape", ["cast", "shape"], ["logits"]),
    ]
    save(tmp_path, [IDS], nodes, [value("logits", TensorProto.FLOAT, 1, 7, 300)], [constant("shape", 1, 7, 300)])
    runner = run(tmp_path)
    with pytest.raises(BadInput, match="cannot be run") as e:
        runner.forward(np.array([[1]]))
    assert e.value.port == "model"


def test_a_folder_without_a_model(tmp_path):
    (tmp_path / "readme.txt").write_text(json.dumps({}))
    refused(tmp_path, "config.json")
