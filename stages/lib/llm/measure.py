"""What a packed checkpoint holds and takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

# What compressed-tensors keeps for one quantized layer. weight_shape (int64 [2]) only says what the packing hides.
PARTS = ("weight_packed", "weight_scale", "weight_zero_point", "weight_g_idx")


def packed_layers(files: Iterable[Path]) -> set[str]:
    """Names of the layers whose weight is packed."""
    from safetensors import safe_open

    found = set()
    for file in files:
        with safe_open(file, framework="numpy") as tensors:
            names = (name.rpartition(".") for name in tensors.keys())  # noqa: SIM118 (not a dict)
            found.update(layer for layer, _, part in names if part == "weight_packed")
    return found


def bits_per_weight(files: Iterable[Path]) -> float:
    """Stored bits of all quantized layers, scales and zero points included, divided by the number of their weights."""
    from safetensors import safe_open

    stored = count = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                part = name.rpartition(".")[2]
                if part in PARTS:
                    tensor = tensors.get_tensor(name)
                    stored += tensor.numel() * tensor.element_size() * 8
                elif part == "weight_shape":
                    count += math.prod(tensors.get_tensor(name).tolist())
    if not count:
        raise ValueError("the checkpoint holds no packed weight")
    return stored / count
