"""4-bit linears by humming-kernels: they read the weights packed, in any batch size of decoding.

Its API as of 0.1.19 (layer.py, schema/compressed_tensors.py): a layer takes compressed-tensors' own tensors and turns
them into its order once. Kernels are built by nvcc at the first call of each shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.llm.decoder import Unfit
from lib.llm.packed import BITS, Linear, Packed

if TYPE_CHECKING:
    import torch


class Humming:
    """A :class:`~lib.llm.packed.Kernel`."""

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise Unfit("humming needs a GPU")
        from importlib.metadata import version

        self.name = f"humming-kernels {version('humming-kernels')}"

    def linear(self, packed: Packed, dtype: torch.dtype) -> tuple[Linear, int]:
        import torch
        from humming.layer import HummingLayer
        from humming.schema import CompressedTensorsWeightSchema

        if dtype not in (torch.float16, torch.bfloat16):
            raise Unfit(f"humming computes in float16 and bfloat16, not in {str(dtype).removeprefix('torch.')}")
        schema = CompressedTensorsWeightSchema(
            format="pack-quantized",
            type="int",
            num_bits=BITS,
            strategy="group",
            group_size=packed.group,
            symmetric=packed.zero is None,
        )
        outputs, inputs = packed.outputs, packed.inputs
        try:
            # Each layer has locks of its own: kernels of two streams must never share them.
            layer = HummingLayer(outputs, inputs, schema, torch_dtype=dtype).cuda()
            layer.load_from_tensors(packed.parts())
            layer.transform()
        except AssertionError as e:  # its way to refuse a shape
            raise Unfit(f"humming has no kernel for {outputs} x {inputs} weights in groups of {packed.group}") from e

        def call(x: torch.Tensor) -> torch.Tensor:
            return layer(x.reshape(-1, inputs)).reshape(*x.shape[:-1], outputs)

        return call, sum(p.nbytes for p in layer.parameters())
