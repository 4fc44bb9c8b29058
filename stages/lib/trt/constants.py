"""Large weights of a graph as constants that are read where their files are mapped.

TensorRT's parser copies every weight into memory of its own, on one processor: half a minute at 16 GB. So it is given a
graph that takes them as inputs, and the network's uses of those become constants, of which only the address is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

LEAST = 1 << 20  # bytes
# Operators that take any tensor as a weight. Of others, DequantizeLinear and its scales among them, the parser may want
# an initializer.
USES = {"MatMul", "Gather"}
PASSES = {"Cast", "Concat", "Transpose"}  # whose outputs are used so


@dataclass(frozen=True)
class Constant:
    """A tensor of `size` bytes at `offset` of a file beside the graph; `type` is TensorRT's name of what it holds."""

    type: str
    shape: tuple[int, ...]
    file: str
    offset: int
    size: int


def take_out(model: onnx.ModelProto) -> dict[str, Constant]:
    """The large float weights that lie in files, by name. They are inputs of the graph from now on."""
    import onnx

    kinds = onnx.TensorProto
    types = {kinds.FLOAT: ("FLOAT", 4), kinds.FLOAT16: ("HALF", 2), kinds.BFLOAT16: ("BF16", 2)}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found: dict[str, Constant] = {}
    left = []
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        shape, offset = tuple(tensor.dims), int(place.get("offset", 0))
        name, width = types.get(tensor.data_type, ("", 1))
        size = prod(shape) * width
        taken = name and "location" in place and size >= LEAST and offset % width == 0
        if not taken or not _plain(tensor.name, users):
            left.append(tensor)
            continue
        found[tensor.name] = Constant(name, shape, place["location"], offset, size)
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    del model.graph.initializer[:]
    model.graph.initializer.extend(left)
    return found


def _plain(name: str, users: Mapping[str, list[onnx.NodeProto]]) -> bool:
    """Whether all uses of a value, and of what is made of it, are such that it may be any tensor."""
    return all(
        node.op_type in USES or (node.op_type in PASSES and _plain(node.output[0], users))
        for node in users.get(name, [])
    )


def put_in(trt: ModuleType, network: Any, folder: Path, constants: Mapping[str, Constant]) -> list[np.ndarray]:
    """Give a parsed network the constants in place of the inputs. What comes back must live until it is built.

    ValueError where a file is shorter than the graph says, OSError where there is none.
    """
    files = {one.file: np.memmap(folder / one.file, np.uint8, "r") for one in constants.values()}
    made = {}
    for name, one in constants.items():
        mapped = files[one.file]
        if one.offset + one.size > len(mapped):
            raise ValueError(f"{one.file} ends within {name}")
        weights = trt.Weights(getattr(trt.DataType, one.type), mapped.ctypes.data + one.offset, prod(one.shape))
        layer = network.add_constant(one.shape, weights)
        layer.name = f"{name}/Constant"
        made[name] = layer.get_output(0)
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        for at in range(layer.num_inputs):
            taken = layer.get_input(at)
            if taken is not None and taken.is_network_input and taken.name in made:
                layer.set_input(at, made[taken.name])
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    for tensor in inputs:
        if tensor.name in made:
            network.remove_tensor(tensor)
    return list(files.values())
