from types import SimpleNamespace

import numpy as np
import pytest

import onnx
from lib.trt import network
from onnx import TensorProto, helper, numpy_helper, save


def write(folder, *tensors):
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", [], [], tensors)
    save(helper.make_model(graph), str(folder / "model.onnx"))
    return folder


def external(name, kind, dims):
    tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "not-there.safetensors"), ("offset", "8"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_weights_are_counted_without_their_files(tmp_path):
    folder = write(
        tmp_path,
        external("w", TensorProto.BFLOAT16, [8, 16]),
        external("q", TensorProto.INT4, [5, 3]),
        external("i", TensorProto.INT8, [6]),
        external("f", TensorProto.FLOAT, [4]),
        numpy_helper.from_array(np.zeros(3, np.int64), "axes"),
    )
    found = network.read_weights(folder, "float16")
    assert found.integers == {"q": 15, "i": 6}
    assert found.expected == 2 * (8 * 16 + 4) + 8 + 6
    assert found.unpacked == (30 - 8) + (12 - 6)
    assert network.read_weights(folder, "float32").expected == 4 * (8 * 16 + 4) + 8 + 6


def test_no_graph(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ValueError, match=r"model\.onnx cannot be read"):
        network.read_weights(tmp_path, "float16")


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        ([], "does not say why"),
        (
            [(3, "l0.a/Split", ["CachedAttention"], " no\n"), (4, "", [], "x")],
            "node 3 (l0.a/Split), in CachedAttention: no (and 1 more)",
        ),
        ([(-1, "", [], "bad file")], "refuses the graph: bad file"),
        ([(0, "", [], "bad")], "refuses node 0: bad"),
    ],
)
def test_a_refusal_names_its_node(errors, says):
    assert network.refusal(errors).endswith(says)


class Library:
    """A parser that takes everything, for a network that has nothing."""

    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    DataType = SimpleNamespace(BF16="bf16")

    def Builder(self, _logger):  # noqa: N802
        return SimpleNamespace(create_network=lambda flags: SimpleNamespace(flags=flags, num_layers=0, num_inputs=0))

    def OnnxParser(self, _network, _logger):  # noqa: N802
        return SimpleNamespace(parse=self.parse)

    def parse(self, graph, path):
        self.parsed = onnx.load_from_string(graph), path
        return True


def test_a_graph_is_parsed_without_its_large_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(network.constants, "LEAST", 64)
    write(tmp_path, external("a", TensorProto.FLOAT, [4, 4]), external("c", TensorProto.BFLOAT16, [8, 16]))
    monkeypatch.setattr(network.constants, "put_in", lambda *given: given[2:])
    library = Library()
    parsed = network.parse(library, None, tmp_path)
    assert parsed.network.flags == 2
    assert parsed.held == (
        tmp_path,
        {"c": network.constants.Constant("BF16", (8, 16), "not-there.safetensors", 8, 256)},
    )
    graph, path = library.parsed
    assert path == str(tmp_path / "model.onnx")
    assert [tensor.name for tensor in graph.graph.initializer] == ["a"]  # of Identity it must be an initializer
    assert [tensor.name for tensor in graph.graph.input] == ["c"]


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(network.constants, "LEAST", 64)
    write(tmp_path, external("c", TensorProto.BFLOAT16, [8, 16]))
    with pytest.raises(network.Refused, match=r"weights cannot be read: .*not-there\.safetensors"):
        network.parse(Library(), None, tmp_path)
