import json
import shutil

import numpy as np
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

import onnx
from onnx import numpy_helper
from onnx_check import worker
from tinfra_worker import BadInput, BadParam

SHAPES = [{"batch": 1, "length": 19, "steps": 4}, {"batch": 3, "length": 7, "steps": 3}]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def graph(tiny_graph, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph") / "model"
    shutil.copytree(tiny_graph, folder)
    return folder


@pytest.fixture
def space(workspace, tiny, graph):
    def make(model=None, reference=None, kind="model/onnx", **params):
        made = workspace("onnx_check")
        made.request["params"] = {
            "shapes": SHAPES,
            "seed": 0,
            "prefill_logits": "all",
            "reference_dtype": "float32",
        } | params
        made.add_input("model", model or graph, kind)
        made.add_input("reference", reference or tiny / "model", "model/hf")
        made.request["outputs"] = {"result": "result/check"}
        return made

    return make


@pytest.fixture
def damaged(graph, tmp_path):
    """Makes a copy of the graph, changed by a function of its folder or of its ModelProto."""

    def make(files=None, proto=None):
        folder = tmp_path / "damaged"
        shutil.copytree(graph, folder)
        if files:
            files(folder)
        if proto:
            model = onnx.load(folder / "model.onnx", load_external_data=False)
            proto(model)
            onnx.save(model, folder / "model.onnx")
        return folder

    return make


def metrics(made):
    job = made.job()
    worker.main(job)
    return job.result.metrics


def tensor(folder, name):
    """One external tensor, float32, as an array over the file."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    (found,) = [t for t in model.graph.initializer if t.name == name]
    entry = {e.key: e.value for e in found.external_data}
    return np.memmap(folder / "model.onnx.data", np.float32, "r+", int(entry["offset"]), tuple(found.dims))


def test_a_graph_that_is_right(space, read_tree):
    made = space()
    done = made.run()
    assert done.code == 0, done.stderr[-4000:]
    assert 0 < done.metrics["max_difference"] < TOLERANCE
    parts = (done.metrics["prefill_max_difference"], done.metrics["decode_max_difference"])
    assert max(parts) == done.metrics["max_difference"]
    assert 0 < done.metrics["mean_difference"] < min(parts)
    assert 0 < done.metrics["relative_difference"] < TOLERANCE
    assert done.metrics["same_top1"] == done.metrics["same_top5"] == 1
    result = json.loads((made.out("result") / "check.json").read_text())
    for port in ("model", "reference"):
        assert result[port] == made.request["inputs"][port]["digest"]
    assert result["positions"] == 1 * 23 + 3 * 10
    assert [{k: s[k] for k in ("batch", "length", "steps")} for s in result["shapes"]] == SHAPES
    assert max(s["decode"]["max_difference"] for s in result["shapes"]) == done.metrics["decode_max_difference"]
    passes = [e for e in done.events if e["type"] == "progress"]
    assert (passes[-1]["done"], passes[-1]["total"]) == (13, 13)  # one of the reference for each row


def test_ids_are_seeded(space, monkeypatch):
    drawn = []
    draw = worker.draw
    monkeypatch.setattr(worker, "draw", lambda *a: drawn.append(draw(*a)) or drawn[-1])
    for seed in (0, 0, 1):
        metrics(space(seed=seed, shapes=SHAPES[1:]))
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert drawn[0].shape == (3, 10)
    assert drawn[0].min() >= 0
    assert drawn[0].max() < 300


def test_a_changed_weight_shows(space, damaged):
    def flip(folder):
        tensor(folder, "model.layers.1.mlp.down_proj.MatMul.weight")[3, 5] += 1

    found = metrics(space(model=damaged(flip)))
    assert found["max_difference"] > 100 * TOLERANCE


def test_a_broken_cache_shows_in_decoding_only(space, damaged):
    """The cache that goes out lacks the newest value of layer 0: each prefill is right all the same."""

    def forget(model):
        (node,) = [n for n in model.graph.node if n.op_type == "GroupQueryAttention" and "layers.0" in n.name]
        node.output[2] = "whole"
        model.graph.initializer.append(numpy_helper.from_array(np.float32([0]), "nothing"))
        model.graph.node.append(onnx.helper.make_node("Mul", ["whole", "nothing"], ["present.0.value"]))

    found = metrics(space(model=damaged(proto=forget)))
    assert found["prefill_max_difference"] < TOLERANCE
    assert found["decode_max_difference"] > 100 * TOLERANCE


def test_another_checkpoint_shows(space, tiny, tmp_path):
    config = LlamaConfig.from_pretrained(tiny / "model")
    LlamaForCausalLM(config).save_pretrained(tmp_path / "other")
    assert metrics(space(reference=tmp_path / "other"))["max_difference"] > 0.01
    config.vocab_size = 301
    LlamaForCausalLM(config).save_pretrained(tmp_path / "wider")
    with pytest.raises(BadInput, match="301") as refused:
        metrics(space(reference=tmp_path / "wider"))
    assert refused.value.port == "reference"


def cut(folder):
    data = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx.data").write_bytes(data[:-64])


def nan(folder):
    tensor(folder, "model.layers.0.mlp.up_proj.MatMul.weight")[0, 0] = np.nan


def outside(model):
    for t in model.graph.initializer:
        for entry in t.external_data:
            if entry.key == "location":
                entry.value = "../graph/model.onnx.data"


def fix(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def lose(model):
    (found,) = [o for o in model.graph.output if o.name == "present.1.key"]
    model.graph.output.remove(found)


FILES = {
    "bytes": lambda folder: (folder / "model.onnx").write_bytes(b"\x00" * 400),
    "empty": lambda folder: (folder / "model.onnx").write_bytes(b""),
    "no graph": lambda folder: (folder / "model.onnx").unlink(),
    "no tensors": lambda folder: (folder / "model.onnx.data").unlink(),
    "cut": cut,
    "not a number": nan,
}
PROTOS = {"outside": outside, "fixed batch": fix, "no cache out": lose}


@pytest.mark.parametrize("damage", [*FILES, *PROTOS])
def test_damaged_graphs_are_refused(space, damaged, damage):
    with pytest.raises(BadInput) as refused:
        metrics(space(model=damaged(FILES.get(damage), PROTOS.get(damage))))
    assert refused.value.port == "model"


@pytest.mark.parametrize(
    "shapes",
    [
        [],
        [{"batch": 0, "length": 3, "steps": 1}],
        [{"batch": 1, "length": 3, "steps": 0.5}],
        [{"batch": 1, "length": 3}],
        [{"batch": 1024, "length": 1024, "steps": 1}],
    ],
)
def test_shapes_that_cannot_be_run(space, shapes):
    with pytest.raises(BadParam) as refused:
        metrics(space(shapes=shapes))
    assert refused.value.param == "shapes"


def test_more_tokens_than_the_model_takes(space):
    with pytest.raises(BadParam, match="256 tokens"):
        metrics(space(shapes=[{"batch": 1, "length": 255, "steps": 2}]))


# Graphs whose cache is their caller's.


@pytest.fixture(scope="module")
def decoder(graph_of, tiny):
    return graph_of(tiny / "model")


def test_a_decoder_that_is_right(space, decoder):
    made = space(model=decoder, kind="model/onnx-decoder")
    found = metrics(made)
    assert found["max_difference"] < TOLERANCE
    assert found["same_top1"] == 1
    result = json.loads((made.out("result") / "check.json").read_text())
    assert result["positions"] == 1 * 23 + (7 + 6 + 5) + 3 * 3  # rows end apart
    assert result["engine"]["model"].startswith("onnxruntime ")
    found = metrics(space(model=decoder, kind="model/onnx-decoder", prefill_logits="last"))
    assert found["max_difference"] < TOLERANCE


def test_packed_weights_are_held_against_their_unpacked_selves(space, workspace, graph_of, tiny):
    quantize = workspace("rtn")
    quantize.request["params"] = {
        "bits": 4,
        "group_size": 16,
        "symmetric": False,
        "observer": "minmax",
        "rest": "keep",
        "ignore": ["lm_head"],
    }
    quantize.add_input("model", tiny / "model", "model/hf")
    quantize.request["outputs"] = {"model": "model/hf"}
    done = quantize.run()
    assert done.code == 0, done.stderr[-4000:]
    packed = quantize.out("model")
    found = metrics(space(model=graph_of(packed), kind="model/onnx-decoder", reference=packed))
    assert found["max_difference"] < 10 * TOLERANCE
    plain = metrics(space(model=graph_of(packed), kind="model/onnx-decoder"))
    assert plain["relative_difference"] > 0.01


def test_a_decoder_of_other_weights_shows(space, graph_of, tiny, tmp_path):
    LlamaForCausalLM(LlamaConfig.from_pretrained(tiny / "model")).save_pretrained(tmp_path / "other")
    found = metrics(space(model=graph_of(tmp_path / "other"), kind="model/onnx-decoder"))
    assert found["relative_difference"] > 0.1
    assert found["same_top1"] < 1


@pytest.mark.parametrize(
    ("name", "content"), [("decoder.json", b"{"), ("model.onnx", b"onnx" * 100), ("added.safetensors", b"")]
)
def test_damaged_decoders_are_refused(space, decoder, tmp_path, name, content):
    folder = tmp_path / "damaged"
    shutil.copytree(decoder, folder)
    (folder / name).write_bytes(content)
    with pytest.raises(BadInput) as refused:
        metrics(space(model=folder, kind="model/onnx-decoder"))
    assert refused.value.port == "model"


def test_a_reference_in_half_a_type(space, decoder):
    found = metrics(space(model=decoder, kind="model/onnx-decoder", reference_dtype="bfloat16"))
    assert TOLERANCE < found["relative_difference"] < 0.05
