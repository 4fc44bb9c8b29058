"""4-bit weights as compressed-tensors packs them, and what computes with them where there is no kernel for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lib.llm.decoder import Unfit

if TYPE_CHECKING:
    import torch

BITS = 4
WORD = 32 // BITS  # weights in an int32

Linear = Callable[["torch.Tensor"], "torch.Tensor"]  # [..., inputs] → [..., outputs]


@dataclass(frozen=True)
class Packed:
    """A linear layer: words, int32 [outputs, inputs / 8]; scale [outputs, groups]; zero, int32 [outputs / 8, groups].

    A weight is (nibble - 8 - zero) · scale; symmetric layers have no zero.
    """

    words: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None

    @property
    def outputs(self) -> int:
        return self.words.shape[0]

    @property
    def inputs(self) -> int:
        return self.words.shape[1] * WORD

    @property
    def group(self) -> int:
        return self.inputs // self.scale.shape[1]

    def parts(self) -> dict[str, torch.Tensor]:
        """The tensors by the names that they have in a checkpoint."""
        import torch

        shape = torch.tensor([self.outputs, self.inputs])
        found = {"weight_packed": self.words, "weight_scale": self.scale, "weight_shape": shape}
        return found if self.zero is None else found | {"weight_zero_point": self.zero}

    def nbytes(self) -> int:
        return sum(t.nbytes for t in (self.words, self.scale, self.zero) if t is not None)


class Kernel(Protocol):
    """Computes with packed weights; `name` says by what."""

    name: str

    def linear(self, packed: Packed, dtype: torch.dtype) -> tuple[Linear, int]:
        """The layer, for inputs of `dtype`, and how many bytes of weights one pass through it reads."""
        ...


class Dequantize:
    """Makes plain weights of packed ones, once, by compressed-tensors' own rule: what transformers computes with."""

    name = "dequantized"

    def linear(self, packed: Packed, dtype: torch.dtype) -> tuple[Linear, int]:
        weight = dequantize(packed).to(dtype)
        return plain(weight), weight.nbytes


def dequantize(packed: Packed) -> torch.Tensor:
    """Weights [outputs, inputs] in the type of the scales."""
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    args = QuantizationArgs(
        num_bits=BITS, symmetric=packed.zero is None, strategy="group", group_size=packed.group, type="int"
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    return PackedQuantizationCompressor.decompress(packed.parts(), scheme)["weight"]


def plain(weight: torch.Tensor) -> Linear:
    import torch

    return lambda x: torch.nn.functional.linear(x, weight)


def join(layers: list[Packed], name: str) -> Packed:
    """Layers that read the same inputs as one, their outputs one after the other; :class:`Unfit` where they differ."""
    import torch

    if len({(p.inputs, p.group, p.zero is None) for p in layers}) > 1:
        raise Unfit(f"{name} and the layers beside it are packed in different ways")
    zeros = [p.zero for p in layers if p.zero is not None]
    if zeros and any(p.outputs % WORD for p in layers):
        raise Unfit(f"{name} has outputs that do not fill whole words of zero points")
    return Packed(
        torch.cat([p.words for p in layers]),
        torch.cat([p.scale for p in layers]),
        torch.cat(zeros) if zeros else None,
    )
