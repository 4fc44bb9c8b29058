"""What becomes of a graph's weights, with a made-up network in place of TensorRT's."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from lib.trt import constants
from onnx import TensorProto, helper, numpy_helper

TRT = SimpleNamespace(
    DataType=SimpleNamespace(FLOAT="float", HALF="half", BF16="bf16"), Weights=lambda *given: SimpleNamespace(of=given)
)


def external(name, kind, dims, offset=8):
    tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.safetensors"), ("offset", str(offset))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(*tensors):
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "S"])]
    nodes = [
        helper.make_node("Cast", ["large"], ["cast"], to=TensorProto.FLOAT16),
        helper.make_node("Transpose", ["cast"], ["turned"]),
        helper.make_node("MatMul", ["turned", "small"], ["logits"]),
        helper.make_node("MatMul", ["cast", "inside"], ["logits"]),
        helper.make_node("Cast", ["scale"], ["scale.cast"], to=TensorProto.FLOAT16),
        helper.make_node("DequantizeLinear", ["integers", "scale.cast"], ["weight"]),
        helper.make_node("MatMul", ["weight", "odd"], ["more"]),
    ]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, [], tensors))


def test_large_floats_that_lie_in_files_become_inputs(monkeypatch):
    monkeypatch.setattr(constants, "LEAST", 64)
    made = model(
        external("large", TensorProto.BFLOAT16, [4, 8]),
        external("scale", TensorProto.FLOAT16, [4, 8]),
        external("small", TensorProto.BFLOAT16, [4, 7]),
        external("integers", TensorProto.INT8, [64]),
        external("odd", TensorProto.FLOAT, [4, 8], offset=10),
        numpy_helper.from_array(np.zeros(64, np.float32), "inside"),
    )
    found = constants.take_out(made)
    assert found == {"large": constants.Constant("BF16", (4, 8), "w.safetensors", 8, 64)}
    assert [tensor.name for tensor in made.graph.initializer] == ["scale", "small", "integers", "odd", "inside"]
    ids, large = made.graph.input
    assert (ids.name, large.name, large.type.tensor_type.elem_type) == ("input_ids", "large", TensorProto.BFLOAT16)
    assert [size.dim_value for size in large.type.tensor_type.shape.dim] == [4, 8]


class Layer:
    def __init__(self, *inputs):
        self.inputs, self.num_inputs, self.name = list(inputs), len(inputs), ""

    def get_input(self, at):
        return self.inputs[at]

    def set_input(self, at, tensor):
        self.inputs[at] = tensor


class Network:
    """An INetworkDefinition of two inputs, whose layers also read each other and nothing."""

    def __init__(self):
        self.inputs = [SimpleNamespace(name=name, is_network_input=True) for name in ("input_ids", "large")]
        ids, large = self.inputs
        inner = SimpleNamespace(name="large", is_network_input=False)
        self.layers = [Layer(ids, large), Layer(large, None, inner)]

    def add_constant(self, shape, weights):
        out = SimpleNamespace(name="out", shape=shape, weights=weights, is_network_input=False)
        self.layers.append(SimpleNamespace(num_inputs=0, name="", get_output=lambda _: out))
        return self.layers[-1]

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))

    def get_layer(self, number):
        return self.layers[number]

    def get_input(self, number):
        return self.inputs[number]

    def remove_tensor(self, tensor):
        assert not any(tensor in layer.inputs for layer in self.layers if isinstance(layer, Layer))
        self.inputs.remove(tensor)


def test_constants_take_the_place_of_inputs_and_point_at_the_file(tmp_path):
    numbers = np.arange(32, dtype=np.float16)
    (tmp_path / "w.safetensors").write_bytes(b"8 bytes." + numbers.tobytes())
    network = Network()
    one = constants.Constant("HALF", (4, 8), "w.safetensors", 8, 64)
    held = constants.put_in(TRT, network, tmp_path, {"large": one})
    first, second, constant = network.layers
    out = constant.get_output(0)
    assert constant.name == "large/Constant"
    assert [tensor.name for tensor in network.inputs] == ["input_ids"]
    assert (first.inputs[0].name, first.inputs[1]) == ("input_ids", out)
    assert (second.inputs[0], second.inputs[1], second.inputs[2].name) == (out, None, "large")
    kind, address, count = out.weights.of
    assert (kind, count, out.shape) == ("half", 32, (4, 8))
    assert ctypes.string_at(address, 64) == numbers.tobytes()
    assert len(held) == 1


def test_a_file_that_is_too_short(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(bytes(71))
    one = constants.Constant("HALF", (4, 8), "w.safetensors", 8, 64)
    with pytest.raises(ValueError, match=r"w\.safetensors ends within large"):
        constants.put_in(TRT, Network(), tmp_path, {"large": one})
