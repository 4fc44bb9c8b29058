import numpy as np
import pytest

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
