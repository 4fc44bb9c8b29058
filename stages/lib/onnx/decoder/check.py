"""Whether a decoder graph, read back from its file, is what its contract says.

The tensors are not read, and those in the checkpoint's own files need not lie beside the graph yet.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from lib.llm.contract import Contract
from lib.onnx.decoder import attention
from lib.onnx.graph import MODEL, read_graph
from tinfra_worker import Fault


def check(out: Path, source: Path, contract: Contract) -> int:
    """The number of the graph's nodes. :class:`Fault` where it is unsound: our own mistake, not the checkpoint's."""
    import onnx

    model = onnx.load(str(out / MODEL), load_external_data=False)
    try:
        graph = read_graph(out)
        graph.check_shapes()
        layers = graph.layers()
        for name, needed in graph.files.items():
            _check_file(out / name if (out / name).exists() else source / name, name, needed)
        _check_types(model)
    except ValueError as e:
        raise Fault(f"the graph is not sound: {e}") from e
    kinds = Counter(node.op_type for node in model.graph.node)
    cache = ["B", contract.kv_heads, "T", contract.head_dim]
    said = [
        ("layers", layers, contract.layers),
        ("attention nodes", kinds[attention.NAME], contract.layers),
        ("a cache", graph.inputs["cache.0.key"], cache),
        ("logits", graph.outputs["logits"], ["B", "R", contract.vocabulary]),
        ("integer weights", kinds["DequantizeLinear"] > 0, contract.weights != "float"),
    ]
    for what, found, wanted in said:
        if found != wanted:
            raise Fault(f"the graph is not what was asked for: {what} {found}, not {wanted}")
    return len(model.graph.node)


def _check_file(path: Path, name: str, needed: int) -> None:
    if "/" in name or not path.is_file() or path.stat().st_size < needed:
        raise ValueError(f"{needed} bytes of {name} are pointed at, and it is not that long")


def _check_types(model: Any) -> None:
    """The library's own check of all types and shapes, with outer tensors as inputs: it would look for their files.

    Each initializer must be of use.
    """
    import onnx

    used = {name for node in model.graph.node for name in node.input}
    if idle := sorted(t.name for t in model.graph.initializer if t.name not in used):
        raise ValueError(f"{len(idle)} tensors are of no use: {', '.join(idle[:5])}")
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    outer = [t for t in bare.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in outer:
        bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        bare.graph.initializer.remove(tensor)
    try:
        onnx.checker.check_model(bare, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        raise ValueError(str(e)) from e
