"""Packed 4-bit weights as block-wise DequantizeLinear: the checkpoint's own integers and scales.

Layouts: compressed-tensors packs value + 8 along the inputs, [out, in / 8] int32, lowest bits first. The graph holds
two's complement along the outputs, [in, out] INT4, with scales [in / group, out]: TensorRT 10 has blocks along axis 0.

Zero points are no part of DequantizeLinear, since TensorRT takes 0 only. The same product by algebra: with integers q,
zeros z and scales s of a block, x · ((q - z) s) = x · (q s) - sum(x) (z s), one small product more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lib.onnx.decoder.added import Added
from lib.onnx.decoder.product import Products
from lib.onnx.decoder.scales import cast
from lib.onnx.decoder.tape import Tape
from lib.onnx.decoder.weights import Unsound, Weights
from lib.onnx.packed import BITS

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

MIDDLE = 1 << (BITS - 1)
WORD = 32 // BITS  # values of an int32

Sizes = tuple[str, int, int]  # a layer's name, inputs and outputs


@dataclass
class Packing:
    """Adds packed weights to a graph. Integers, scales and zeros are made on `device`, a tensor at a time."""

    tape: Tape
    weights: Weights
    added: Added
    products: Products
    device: torch.device
    joins = True
    groups: set[int] = field(default_factory=set)  # the sizes of groups
    asymmetric: int = 0  # layers with zero points
    _sums: dict[tuple[str | None, int], ir.Value] = field(default_factory=dict)

    def holds(self, layer: str) -> bool:
        return f"{layer}.weight_packed" in self.weights

    def form(self) -> tuple[str, int, bool]:
        """Name, group size (0 where nothing is packed) and symmetry; :class:`Unsound` for groups of several sizes."""
        if len(self.groups) > 1:
            raise Unsound(f"the model has groups of several sizes: {sorted(self.groups)}")
        return ("int4" if self.groups else "float"), sum(self.groups), not self.asymmetric

    def product(self, x: ir.Value, layers: Sequence[Sizes], name: str) -> tuple[ir.Value, float]:
        """x, [B, S, inputs], by layers of one input, one under the other, and the bytes that it reads."""
        import onnx_ir as ir

        group, zeros = self._check(layers)
        inputs, outputs = layers[0][1], sum(n for _, _, n in layers)
        names = [layer for layer, _, _ in layers]
        tape, kind = self.tape, self.tape.dtype
        whole = self.added.put(f"{name}.int4", ir.DataType.INT4, [inputs, outputs], lambda: self._integers(names))
        few = [inputs // group, outputs]
        scale = self.added.put(f"{name}.scale", kind, few, lambda: self._scales(names))
        weight = tape.op("DequantizeLinear", [whole, scale], f"{name}.weight", axis=0, block_size=group)
        read = inputs * outputs // 2 + few[0] * outputs * kind.itemsize
        if not zeros:
            return self.products.make(x, weight, name), read
        zero = self.added.put(f"{name}.zero", kind, few, lambda: self._zeros(names))
        plain = self.products.make(x, weight, f"{name}.plain")
        shift = self.products.make(self._block_sums(x, inputs, group), zero, f"{name}.shift")
        return tape.op("Sub", [plain, shift], name), read + few[0] * outputs * kind.itemsize

    def _block_sums(self, x: ir.Value, inputs: int, group: int) -> ir.Value:
        """Sums of x over each block, [B, S, inputs / group]."""
        key = (x.name, group)
        if key not in self._sums:
            shape = self.tape.whole(f"blocks.{inputs}.{group}", [0, 0, inputs // group, group])
            parts = self.tape.op("Reshape", [x, shape], f"{x.name}.blocks")
            last = self.tape.whole("axis.last", [-1])
            self._sums[key] = self.tape.op("ReduceSum", [parts, last], f"{x.name}.sums", keepdims=0)
        return self._sums[key]

    def _check(self, layers: Sequence[Sizes]) -> tuple[int, bool]:
        """Group size of the layers and whether they have zero points; :class:`Unsound` where they differ."""
        found = {self._check_one(*layer) for layer in layers}
        if len(found) > 1:
            raise Unsound(f"{layers[0][0]} and its neighbours have different groups or zero points: {sorted(found)}")
        ((group, zeros),) = found
        self.groups.add(group)
        self.asymmetric += len(layers) * zeros
        return group, zeros

    def _check_one(self, layer: str, inputs: int, outputs: int) -> tuple[int, bool]:
        if inputs % WORD or outputs % 2:
            raise Unsound(f"{layer} has {inputs} inputs and {outputs} outputs; multiples of {WORD} and 2 are packed")
        packed = self.weights.find(f"{layer}.weight_packed", [outputs, inputs // WORD])
        scale = self.weights.find(f"{layer}.weight_scale")
        blocks = scale.shape[1] if len(scale.shape) == 2 else 0
        if packed.dtype != "I32" or scale.shape != (outputs, blocks) or not blocks or inputs % blocks:
            raise Unsound(
                f"{layer} has scales of shape {list(scale.shape)} and {packed.dtype} words "
                f"for {[outputs, inputs]} weights"
            )
        if f"{layer}.weight_g_idx" in self.weights:
            raise Unsound(f"{layer} has groups that do not lie in order (weight_g_idx)")
        zeros = f"{layer}.weight_zero_point" in self.weights
        if zeros:
            self.weights.find(f"{layer}.weight_zero_point", [-(-outputs // WORD), blocks])
        return inputs // blocks, zeros

    def _rows(self, layers: Sequence[str], part: str) -> torch.Tensor:
        """A part of the layers as it is stored, one under the other."""
        import torch

        return torch.cat([self._read(f"{layer}.{part}") for layer in layers])

    def _read(self, name: str) -> torch.Tensor:
        return self.weights.read(name, str(self.device))

    def _integers(self, layers: Sequence[str]) -> torch.Tensor:
        """uint8 [in, out / 2], the lower half of a byte first."""
        import torch

        held = self._rows(layers, "weight_packed").contiguous().view(torch.uint8)  # little-endian: low nibbles first
        nibbles = torch.stack((held & 15, held >> BITS), dim=-1).flatten(1) ^ MIDDLE
        turned = nibbles.T.contiguous()
        return turned[:, 0::2] | (turned[:, 1::2] << BITS)

    def _scales(self, layers: Sequence[str]) -> torch.Tensor:
        """[in / group, out] in the graph's type; :class:`Unsound` where that is too coarse for them."""
        return cast(self._rows(layers, "weight_scale").T, self.tape.dtype, layers[0])

    def _zeros(self, layers: Sequence[str]) -> torch.Tensor:
        """Zero points times scales, [in / group, out]."""
        import torch
        from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

        rows = []
        for layer in layers:
            scale = self._read(f"{layer}.weight_scale").float()
            packed = self._read(f"{layer}.weight_zero_point")
            zero = unpack_from_int32(packed, BITS, torch.Size(scale.shape), packed_dim=0)
            rows.append(zero.float() * scale)
        return cast(torch.cat(rows).T, self.tape.dtype, layers[0])
