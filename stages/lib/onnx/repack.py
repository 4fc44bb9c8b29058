"""The packed 4-bit weights of a compressed-tensors checkpoint in the layout of onnxruntime's MatMulNBits.

It knows both layouts, and nothing of graphs. Integers, scales and zero points go over as they are: no weight is
unpacked to floats and rounded anew, and scales widen to float32 without loss. (onnxruntime-genai's own loader for GPTQ
checkpoints goes through float16.)

Layouts: compressed-tensors packs value + 8 along the inputs, [out, in / 8] int32, lowest bits first; MatMulNBits takes
the same nibbles as bytes, [out, blocks, block / 2] (onnxruntime's ContribOperators.md). Only zero points are packed
along another axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.onnx.packed import BITS
from tinfra_worker import BadInput

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Layer:
    """One packed linear layer: its name and shape."""

    name: str
    inputs: int
    outputs: int
    block: int


def attach(model: PreTrainedModel, port: str) -> list[Layer]:
    """Give each packed layer of a model as transformers loads it what the model builder looks for; returns them.

    The builder takes any module with `qweight` for a quantized one (onnxruntime-genai 0.18, make_matmul_nbits).
    """
    import torch

    layers = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and hasattr(module, "weight_packed"):
            layers.append(_attach(module, name, port))
    return layers


def _attach(module: Any, name: str, port: str) -> Layer:
    import torch

    outputs, inputs = (int(size) for size in module.weight_shape)
    scale = module.weight_scale.data
    blocks = scale.shape[1] if scale.ndim == 2 else 0
    block = module.quantization_scheme.weights.group_size  # of the config.json group that the layer falls under
    if scale.shape != (outputs, blocks) or blocks * block != inputs:
        raise BadInput(
            port, f"{name} has scales of shape {list(scale.shape)} for {[outputs, inputs]} weights in groups of {block}"
        )
    if hasattr(module, "weight_g_idx"):
        raise BadInput(port, f"{name} has groups that do not lie in order (weight_g_idx)")
    packed = module.weight_packed.data.contiguous()
    if packed.dtype != torch.int32 or packed.numel() * 8 != inputs * outputs:
        raise BadInput(port, f"{name} has {packed.numel()} packed words for {outputs * inputs} weights of {BITS} bits")
    # A little-endian int32 of 8 nibbles is 4 bytes of 2, in the same order.
    module.qweight = packed.view(torch.uint8).reshape(outputs, blocks, block * BITS // 8)
    module.scales = scale.float().reshape(-1)
    module.qzeros = _zeros(module, outputs, blocks)
    module.bits, module.group_size, module.g_idx = BITS, block, None
    return Layer(name, inputs, outputs, block)


def _zeros(module: Any, outputs: int, blocks: int) -> torch.Tensor:
    """Zero points, two a byte along the blocks, each output's on whole bytes; uint8 [outputs * ceil(blocks / 2)].

    Symmetric layers get 8, which means 0, since the builder joins q, k and v with their zero points.
    """
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    middle = 1 << (BITS - 1)
    packed = getattr(module, "weight_zero_point", None)
    if packed is None:
        zeros = torch.full((outputs, blocks), middle, dtype=torch.uint8)
    else:
        shape = torch.Size((outputs, blocks))
        zeros = (unpack_from_int32(packed.data, BITS, shape, packed_dim=0) + middle).to(torch.uint8)
    if blocks % 2:
        zeros = torch.nn.functional.pad(zeros, (0, 1))
    return (zeros[:, 0::2] | (zeros[:, 1::2] << BITS)).contiguous().reshape(-1)
