"""Which 4-bit weights of a compressed-tensors checkpoint can go into a graph as they are."""

from __future__ import annotations

from typing import Any

from tinfra_worker import BadInput

BITS = 4
SMALLEST_BLOCK = 16  # of onnxruntime's MatMulNBits, whose blocks are powers of two


def check_scheme(config: dict[str, Any], port: str) -> bool:
    """Whether a model's config.json declares packed 4-bit weights; :class:`BadInput` for any other quantization."""
    found = config.get("quantization_config")
    if not found:
        return False
    method, form = found.get("quant_method"), found.get("format")
    if method != "compressed-tensors" or form != "pack-quantized":
        raise BadInput(
            port,
            f"the model is quantized as {method} ({form}); packed compressed-tensors are exported",
            "quantize the original model by gptq, awq or rtn",
        )
    for name, group in (found.get("config_groups") or {}).items():
        _check_group(port, name, group)
    return True


def _check_group(port: str, name: str, group: dict[str, Any]) -> None:
    weights = group.get("weights") or {}
    if group.get("input_activations") or group.get("output_activations"):
        raise BadInput(port, f"{name} of the checkpoint quantizes activations too; float ones are exported")
    if weights.get("num_bits") != BITS or weights.get("type") != "int" or group.get("format", "") == "mixed-precision":
        raise BadInput(
            port,
            f"{name} of the checkpoint has {weights.get('num_bits')}-bit {weights.get('type')} weights; "
            f"{BITS}-bit int is exported",
            f"quantize with {BITS} bits",
        )
    block = weights.get("group_size") or 0
    if weights.get("strategy") != "group" or block < SMALLEST_BLOCK or block & (block - 1):
        raise BadInput(
            port,
            f"{name} of the checkpoint has strategy {weights.get('strategy')} and group size {block}; "
            f"groups of a power of two from {SMALLEST_BLOCK} are exported",
            "quantize with group_size 16, 32, 64, 128 or 256",
        )
    if weights.get("actorder") == "group":
        raise BadInput(
            port,
            f"{name} of the checkpoint lets groups follow the activations' order (actorder group)",
            "quantize with act_order static, which is as exact and keeps groups as they lie",
        )
