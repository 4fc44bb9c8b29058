"""Linear layers of a decoder: a product with a float weight where it lies, or with a packed one of 4 bits."""

from __future__ import annotations

import math
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
        return self.several(x, [layer], layer.output)

    def several(self, x: ir.Value, layers: Sequence[Layer], name: str) -> ir.Value:
        """One input by several layers, their outputs behind each other: one product.

        The builder of an engine joins float weights and biases once; nothing is written for it. Where only some of the
        layers are packed, each has its own product.
        """
        if len({self._packed(layer) for layer in layers}) > 1:
            return self._tape.op("Concat", [self.one(x, layer) for layer in layers], name, axis=-1)
        biased = layers[0].bias
        made = self._product(x, layers, f"{name}.product" if biased else name)
        return self._tape.op("Add", [made, self._bias(layers, name)], name) if biased else made

    def _packed(self, layer: Layer) -> bool:
        return self._packing is not None and self._packing.holds(layer.name)

    def _product(self, x: ir.Value, layers: Sequence[Layer], name: str) -> ir.Value:
        """The input by the layers' weights, one under the other."""
        if self._packing is not None and self._packed(layers[0]):
            sizes = [(layer.name, layer.inputs, layer.outputs) for layer in layers]
            made, read = self._packing.product(x, sizes, name)
            self.read += read
            return made
        weight = self._joined([(f"{layer.name}.weight", [layer.outputs, layer.inputs]) for layer in layers], name)
        turned = self._tape.op("Transpose", [weight], f"{name}.columns", perm=[1, 0])
        return self._tape.op("MatMul", [x, turned], name)

    def _bias(self, layers: Sequence[Layer], name: str) -> ir.Value:
        return self._joined([(f"{layer.name}.bias", [layer.outputs]) for layer in layers], f"{name}.bias")

    def _joined(self, tensors: Sequence[tuple[str, list[int]]], name: str) -> ir.Value:
        """Tensors of the checkpoint, by name and shape, one under the other."""
        parts = []
        for tensor, shape in tensors:
            self.read += math.prod(shape) * self._tape.dtype.itemsize
            parts.append(self._tape.typed(tensor, self._weights.floats(tensor, shape)))
        return parts[0] if len(parts) == 1 else self._tape.op("Concat", parts, f"{name}.rows", axis=0)
