"""Linear layers of a decoder: a product with a float weight where it lies, or with a quantized one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lib.onnx.decoder.product import Products
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


class Quantized(Protocol):
    """Layers whose weights are no floats."""

    joins: bool  # whether several layers of one input can be one product

    def holds(self, layer: str) -> bool:
        """Whether a layer is one of them."""
        ...

    def product(self, x: ir.Value, layers: Sequence[tuple[str, int, int]], name: str) -> tuple[ir.Value, float]:
        """The input by layers (names, inputs, outputs), and the bytes that it reads."""
        ...

    def form(self) -> tuple[str, int, bool]:
        """Contract's `weights`, `group` and `symmetric`."""
        ...


class Linears:
    """Makes products, and counts the bytes of weights that they read."""

    def __init__(self, tape: Tape, weights: Weights, products: Products, quantized: Quantized | None) -> None:
        self._tape, self._weights, self._products, self._quantized = tape, weights, products, quantized
        self.read = 0  # bytes that one pass reads, as the engine holds them

    def one(self, x: ir.Value, layer: Layer) -> ir.Value:
        """x, [..., inputs], by one layer: [..., outputs]."""
        return self.several(x, [layer], layer.output)

    def several(self, x: ir.Value, layers: Sequence[Layer], name: str) -> ir.Value:
        """One input by several layers, their outputs behind each other: one product.

        The builder of an engine joins float weights and biases once; nothing is written for it. Where only some of the
        layers are quantized, or such layers cannot be joined, each has its own product.
        """
        held = [self._held(layer) for layer in layers]
        if len(layers) > 1 and any(held) and not (all(held) and self._quantized and self._quantized.joins):
            return self._tape.op("Concat", [self.one(x, layer) for layer in layers], name, axis=-1)
        biased = layers[0].bias
        made = self._product(x, layers, f"{name}.product" if biased else name)
        return self._tape.op("Add", [made, self._bias(layers, name)], name) if biased else made

    def _held(self, layer: Layer) -> bool:
        return self._quantized is not None and self._quantized.holds(layer.name)

    def _product(self, x: ir.Value, layers: Sequence[Layer], name: str) -> ir.Value:
        """The input by the layers' weights, one under the other."""
        if self._quantized is not None and self._held(layers[0]):
            sizes = [(layer.name, layer.inputs, layer.outputs) for layer in layers]
            made, read = self._quantized.product(x, sizes, name)
            self.read += read
            return made
        weight = self._joined([(f"{layer.name}.weight", [layer.outputs, layer.inputs]) for layer in layers], name)
        turned = self._tape.op("Transpose", [weight], f"{name}.columns", perm=[1, 0])
        return self._products.make(x, turned, name)

    def _bias(self, layers: Sequence[Layer], name: str) -> ir.Value:
        return self._joined([(f"{layer.name}.bias", [layer.outputs]) for layer in layers], f"{name}.bias")

    def _joined(self, tensors: Sequence[tuple[str, list[int]]], name: str) -> ir.Value:
        """Tensors of the checkpoint, by name and shape, one under the other."""
        parts = []
        for tensor, shape in tensors:
            self.read += math.prod(shape) * self._tape.dtype.itemsize
            parts.append(self._tape.typed(tensor, self._weights.floats(tensor, shape)))
        return parts[0] if len(parts) == 1 else self._tape.op("Concat", parts, f"{name}.rows", axis=0)
