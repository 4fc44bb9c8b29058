"""What an ONNX graph of a causal LM really holds, read from its file without its tensors.

It knows names, operators, attributes and where external tensors lie. It must not know who wrote the graph, nor run it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

MODEL = "model.onnx"
_CACHE = re.compile(r"(past_key_values|present|cache|new)\.(\d+)\.(key|value)")
_PAIRS = {"past_key_values": "present", "cache": "new"}  # a cache that the graph extends; one that its caller does
_INLINE = 4096  # bytes; constants of shape arithmetic may stay in the graph


@dataclass(frozen=True)
class PackedNode:
    """A MatMulNBits node; inputs and outputs are sizes of the weight matrix."""

    name: str
    bits: int
    block: int
    accuracy_level: int
    inputs: int
    outputs: int
    weight: str  # the initializer's name


@dataclass
class Graph:
    """Inputs and outputs with their shapes (a name for a dynamic size), and the matrix products."""

    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    producer: str
    packed: list[PackedNode] = field(default_factory=list)
    floats: dict[str, int] = field(default_factory=dict)  # MatMul node → weights, those with a constant one
    head: str = ""  # what makes the logits: MatMul, or MatMulNBits and its bits
    files: dict[str, int] = field(default_factory=dict)  # external file → the bytes that the graph needs of it

    def layers(self) -> int:
        """Layers whose key and value come in and go out; ValueError when they do not match."""
        kind = "cache" if "cache.0.key" in self.inputs else "past_key_values"
        ins, outs = _caches(self.inputs, kind), _caches(self.outputs, _PAIRS[kind])
        want = {(n, part) for n in range(len(ins) // 2) for part in ("key", "value")}
        if ins != outs or ins != want:
            raise ValueError("its key and value inputs and outputs are not a pair for each layer")
        return len(ins) // 2

    def check_shapes(self) -> None:
        """ValueError unless batch and sequence are dynamic all over."""
        for name in ("input_ids", "attention_mask"):
            if name in self.inputs and not all(isinstance(d, str) for d in self.inputs[name]):
                raise ValueError(f"{name} has a fixed size: {self.inputs[name]}")
        for name, shape in {**self.inputs, **self.outputs}.items():
            dynamic = (shape[0], shape[2]) if _CACHE.fullmatch(name) else shape[:2]
            if not all(isinstance(d, str) for d in dynamic):
                raise ValueError(f"{name} has a fixed batch or sequence: {shape}")

    def check_files(self, folder: Path) -> None:
        """ValueError unless each external tensor lies inside a file of the folder."""
        for location, needed in self.files.items():
            parts = PurePosixPath(location).parts
            path = folder / location
            if not parts or ".." in parts or path.is_absolute() != folder.is_absolute() or location.startswith("/"):
                raise ValueError(f"it keeps tensors outside of its folder: {location}")
            if not path.is_file():
                raise ValueError(f"{location}, where its tensors lie, is missing")
            if path.stat().st_size < needed:
                raise ValueError(f"{location} has {path.stat().st_size} bytes; the graph needs {needed}")


def read_graph(folder: Path) -> Graph:
    """Read model.onnx of a folder; ValueError when it is no graph."""
    from google.protobuf.message import DecodeError

    import onnx

    try:
        model = onnx.load(str(folder / MODEL), load_external_data=False)
    except (OSError, DecodeError) as e:
        raise ValueError(f"{MODEL} cannot be read: {e}") from e
    graph = model.graph
    if not graph.node:
        raise ValueError(f"{MODEL} has no nodes")
    found = Graph(
        inputs={v.name: _shape(v) for v in graph.input},
        outputs={v.name: _shape(v) for v in graph.output},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
    )
    constants = {t.name: t for t in graph.initializer}
    for tensor in constants.values():
        _place(tensor, found.files)
    for node in graph.node:
        _count(node, constants, found)
    return found


def _count(node: Any, constants: dict[str, Any], found: Graph) -> None:
    """Add one node's matrix product."""
    if node.op_type == "MatMulNBits":
        have = {a.name: a.i for a in node.attribute}
        level = have.get("accuracy_level", 0)
        found.packed.append(
            PackedNode(node.name, have["bits"], have["block_size"], level, have["K"], have["N"], node.input[1])
        )
    elif node.op_type == "MatMul" and node.input[1] in constants:
        rows, columns = constants[node.input[1]].dims
        found.floats[node.name] = rows * columns
    if "logits" in node.output:
        bits = [f" {a.i}" for a in node.attribute if a.name == "bits"]
        found.head = node.op_type + "".join(bits)


def _place(tensor: Any, files: dict[str, int]) -> None:
    import onnx

    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        if tensor.ByteSize() > _INLINE:
            raise ValueError(f"{tensor.name} is inside {MODEL}; tensors must be in a file of their own")
        return
    entry = {e.key: e.value for e in tensor.external_data}
    end = int(entry.get("offset", 0)) + int(entry.get("length", 0))
    files[entry["location"]] = max(end, files.get(entry["location"], 0))


def _shape(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _caches(values: dict[str, Any], kind: str) -> set[tuple[int, str]]:
    matches: Iterator[re.Match[str] | None] = map(_CACHE.fullmatch, values)
    return {(int(m[2]), m[3]) for m in matches if m and m[1] == kind}
