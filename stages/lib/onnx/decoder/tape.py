"""A graph in the making: nodes with names of their own, constants once each, and tensors that lie in other files.

It knows onnx-ir. It must not know what is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.hf.header import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import onnx_ir as ir

FLOATS = {"F32": "FLOAT", "BF16": "BFLOAT16", "F16": "FLOAT16"}  # onnx-ir's name of safetensors' types
STORED = FLOATS | {"I8": "INT8"}


class Tape:
    """Records nodes. `dtype` is what the graph computes in, onnx-ir's."""

    def __init__(self, dtype: ir.DataType) -> None:
        import onnx_ir as ir

        self.dtype = dtype
        self._tape = ir.tape.Tape()
        self._known: dict[str, ir.Value] = {}  # initializers, and casts of them

    @property
    def nodes(self) -> Sequence[ir.Node]:
        return self._tape.nodes

    @property
    def initializers(self) -> Sequence[ir.Value]:
        return self._tape.initializers

    def op(self, kind: str, inputs: Sequence[ir.Value], name: str, domain: str = "", **attributes: Any) -> ir.Value:
        """A node of one output, called `name`."""
        made = self._tape.op(kind, inputs, attributes, domain=domain, name=f"{name}/{kind}")
        made.name = name
        return made

    def split(self, value: ir.Value, sizes: Sequence[int], names: Sequence[str], axis: int = -1) -> Sequence[ir.Value]:
        """The parts of a value along an axis, of known sizes."""
        return self.parts(value, self.whole("split." + ".".join(map(str, sizes)), list(sizes)), names, axis)

    def parts(self, value: ir.Value, sizes: ir.Value, names: Sequence[str], axis: int = -1) -> Sequence[ir.Value]:
        """The parts of a value along an axis; `sizes` is int64 [parts]."""
        given = {"num_outputs": len(names), "name": f"{names[0]}/Split"}
        made = self._tape.op_multi_out("Split", [value, sizes], {"axis": axis}, **given)
        for part, name in zip(made, names, strict=True):
            part.name = name
        return made

    def whole(self, name: str, numbers: int | Sequence[int]) -> ir.Value:
        """An int64 constant: a scalar or a vector."""
        import numpy as np
        import onnx_ir as ir

        return self._constant(name, np.asarray(numbers, np.int64), ir.DataType.INT64)

    def real(self, name: str, numbers: float | Sequence[Any], dtype: ir.DataType | None = None) -> ir.Value:
        """A constant of the graph's type, or of another: a scalar or an array."""
        import numpy as np

        return self._constant(name, np.asarray(numbers, np.float32), dtype or self.dtype)

    def _constant(self, name: str, numbers: np.ndarray, dtype: ir.DataType) -> ir.Value:
        import onnx_ir as ir

        if name not in self._known:
            tensor = ir.tensor(numbers.astype(dtype.numpy()), dtype=dtype, name=name)
            self._known[name] = self._tape.initializer(tensor)
        return self._known[name]

    def stored(self, name: str, place: Place) -> ir.Value:
        """A tensor as it stands in a safetensors file."""
        import onnx_ir as ir

        if name not in self._known:
            self._known[name] = self._tape.initializer(outside(name, place, ir.DataType[STORED[place.dtype]]))
        return self._known[name]

    def typed(self, name: str, place: Place) -> ir.Value:
        """A tensor of a safetensors file in the graph's type: a cast of it where it is stored in another."""
        value = self.stored(name, place)
        if value.dtype == self.dtype:
            return value
        cast = f"{name}.cast"
        if cast not in self._known:
            self._known[cast] = self.op("Cast", [value], cast, to=self.dtype.value)
        return self._known[cast]

    def later(self, name: str, dtype: ir.DataType, shape: Sequence[int]) -> ir.Value:
        """An initializer whose place is known later only: its const_value must be set before the graph is written."""
        import onnx_ir as ir

        return self._tape.initializer(ir.LazyTensor(_nowhere, dtype=dtype, shape=ir.Shape(shape), name=name))


def outside(name: str, place: Place, dtype: ir.DataType, shape: Sequence[int] | None = None) -> ir.ExternalTensor:
    """A tensor in a file beside the graph. TensorRT's parser reads the whole file where no length is given."""
    import onnx_ir as ir

    at = ir.Shape(place.shape if shape is None else shape)
    return ir.ExternalTensor(place.file, place.offset, place.length, dtype, shape=at, name=name)


def _nowhere() -> Any:
    raise RuntimeError("a tensor has no place yet")
