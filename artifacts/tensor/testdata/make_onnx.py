# Writes inline.onnx, external.onnx and external.onnx.data beside it, with onnx 1.23.2: python3 make_onnx.py
# The same tensors in both: initializers, and constants of the branches of an If.
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(7)


def constant(output: str) -> onnx.GraphProto:
    value = numpy_helper.from_array(rng.standard_normal(32, dtype=np.float32), output)
    node = helper.make_node("Constant", [], [output], value=value)
    return helper.make_graph([node], output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, [32])])


weights = {
    "w": rng.standard_normal((8, 16), dtype=np.float32),
    "h": rng.standard_normal((16, 16)).astype(np.float16),
    "q": rng.integers(0, 255, 64, dtype=np.uint8),
    "shape": np.array([2, 3], dtype=np.int64),
}
graph = helper.make_graph(
    [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("If", ["b"], ["z"], then_branch=constant("inner"), else_branch=constant("other")),
    ],
    "toy",
    [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8]),
        helper.make_tensor_value_info("b", TensorProto.BOOL, []),
    ],
    [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [32]),
    ],
    [numpy_helper.from_array(a, name) for name, a in weights.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
here = Path(__file__).parent
onnx.save_model(model, here / "inline.onnx")
(here / "external.onnx.data").unlink(missing_ok=True)
onnx.save_model(
    model,
    here / "external.onnx",
    save_as_external_data=True,
    location="external.onnx.data",
    size_threshold=32,
    convert_attribute=True,
)
