"""A decoder's graph as TensorRT's parser takes it, and what its weights should measure in an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lib.trt import constants

if TYPE_CHECKING:
    import onnx

MODEL = "model.onnx"
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a weight in an engine of this type


class Refused(ValueError):
    """A graph that TensorRT does not take; the message says at which node."""


@dataclass(frozen=True)
class Weights:
    """Of a graph: the bytes that all take in an engine, and those besides if integers were unpacked to its type.

    `integers` are tensors of 4 or 8 bits, with how many weights each holds.
    """

    integers: dict[str, int] = field(default_factory=dict)
    expected: int = 0
    unpacked: int = 0


def read_model(folder: Path) -> onnx.ModelProto:
    """The graph without what lies in other files. ValueError when it is none."""
    from google.protobuf.message import DecodeError

    import onnx

    try:
        return onnx.load(str(folder / MODEL), load_external_data=False)
    except (OSError, DecodeError) as e:
        raise ValueError(f"{MODEL} cannot be read: {e}") from e


def read_weights(folder: Path, dtype: str) -> Weights:
    """Read them from model.onnx alone, not from the files that its tensors lie in. ValueError when it is no graph.

    Floats count as `dtype`: the graph casts them to it.
    """
    import onnx

    model = read_model(folder)
    kinds = onnx.TensorProto
    bits = {kinds.INT4: 4, kinds.UINT4: 4, kinds.INT8: 8, kinds.UINT8: 8}
    integers, expected, unpacked = {}, 0, 0
    for tensor in model.graph.initializer:
        count = prod(tensor.dims)
        if tensor.data_type in bits:
            integers[tensor.name] = count
            size = (count * bits[tensor.data_type] + 7) // 8
            expected += size
            unpacked += count * SIZES[dtype] - size
        elif tensor.data_type in (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16):
            expected += count * SIZES[dtype]
    return Weights(integers, expected, unpacked)


@dataclass
class Network:
    """A parsed graph. The network points at weights that the parser owns, and at `held`: both must live as long."""

    builder: Any
    network: Any
    parser: Any
    held: Any
    seconds: float

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Declared shapes, -1 where dynamic."""
        found = [self.network.get_input(n) for n in range(self.network.num_inputs)]
        return {tensor.name: tuple(tensor.shape) for tensor in found}


def parse(trt: ModuleType, logger: Any, folder: Path) -> Network:
    """Read model.onnx into a strongly typed network: every type is the graph's own. :class:`Refused`."""
    started = time.monotonic()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    model = read_model(folder)
    taken = constants.take_out(model)
    if not parser.parse(model.SerializeToString(), str(folder / MODEL)):
        errors = [parser.get_error(n) for n in range(parser.num_errors)]
        raise Refused(refusal([(e.node(), e.node_name(), e.local_function_stack(), e.desc()) for e in errors]))
    try:
        held = constants.put_in(trt, network, folder, taken)
    except (OSError, ValueError) as e:
        raise Refused(f"the graph's weights cannot be read: {e}") from e
    return Network(builder, network, parser, held, time.monotonic() - started)


def refusal(errors: Sequence[tuple[int, str, Sequence[str], str]]) -> str:
    """One line of the parser's errors: index and name of the node, the functions around it, and what is wrong."""
    if not errors:
        return "TensorRT's parser refuses the graph and does not say why"
    node, name, functions, what = errors[0]
    where = f"node {node}" + (f" ({name})" if name else "") if node >= 0 else "the graph"
    inside = f", in {' / '.join(functions)}" if functions else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"TensorRT's parser refuses {where}{inside}: {what.strip()}{more}"
