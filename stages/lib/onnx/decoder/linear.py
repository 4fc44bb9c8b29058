"""Linear layers of a decoder: a product with a float weight where it lies, or with a packed one of 4 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.onnx.decoder.int4 import Packing
from lib.onnx.decoder.tape import Tape
from lib.onnx.decoder.weights import Weights

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Layer:
    """A linear layer by its name in the checkpoint; `output` names the value that it makes."""

    name: str
    inputs: int
    outputs: int
    bias: bool
    output: str


class Linears:
    """Makes products, and counts the bytes of weights that they read."""

    def __init__(self, tape: Tape, weights: Weights, packing: Packing | None) -> None:
        self._tape, self._weights, self._packing = tape, weights, packing
        self.read = 0  # bytes that one pass reads, as the engine holds them

    def one(self, x: ir.Value, layer: Layer) -> ir.Value:
        """x, [..., inputs], by one layer: [..., outputs]."""
        return self._finish(self._product(x, [layer], layer.output), layer)

    def several(self, x: ir.Value, layers: Sequence[Layer], name: str) -> list[ir.Value]:
        """One input by several layers: one product, called `name`, whose parts they are.

        The builder of an engine joins float weights once; nothing is written for it. Where only some of the layers are
        packed, each has its own product.
        """
        if len({self._packed(layer) for layer in layers}) > 1:
            return [self.one(x, layer) for layer in layers]
        whole = self._product(x, layers, name)
        names = [f"{layer.output}.part" if layer.bias else layer.output for layer in layers]
        parts = self._tape.split(whole, [layer.outputs for layer in layers], names)
        return [self._finish(part, layer) for part, layer in zip(parts, layers, strict=True)]

    def _packed(self, layer: Layer) -> bool:
        return self._packing is not None and self._packing.holds(layer.name)

    def _product(self, x: ir.Value, layers: Sequence[Layer], name: str) -> ir.Value:
        """The input by the layers' weights, one under the other."""
        out = f"{name}.product" if len(layers) == 1 and layers[0].bias else name
        if self._packing is not None and self._packed(layers[0]):
            sizes = [(layer.name, layer.inputs, layer.outputs) for layer in layers]
            made, read = self._packing.product(x, sizes, out)
            self.read += read
            return made
        rows = [self._float(layer) for layer in layers]
        weight = rows[0] if len(rows) == 1 else self._tape.op("Concat", rows, f"{name}.rows", axis=0)
        turned = self._tape.op("Transpose", [weight], f"{name}.columns", perm=[1, 0])
        return self._tape.op("MatMul", [x, turned], out)

    def _float(self, layer: Layer) -> ir.Value:
        name = f"{layer.name}.weight"
        self.read += layer.inputs * layer.outputs * self._tape.dtype.itemsize
        return self._tape.typed(name, self._weights.floats(name, [layer.outputs, layer.inputs]))

    def _finish(self, made: ir.Value, layer: Layer) -> ir.Value:
        if not layer.bias:
            return made
        name = f"{layer.name}.bias"
        self.read += layer.outputs * self._tape.dtype.itemsize
        bias = self._tape.typed(name, self._weights.floats(name, [layer.outputs]))
        return self._tape.op("Add", [made, bias], layer.output)
