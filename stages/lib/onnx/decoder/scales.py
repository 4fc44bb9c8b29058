"""Scales in the type of a graph, refused where that is too coarse for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.onnx.decoder.weights import Unsound

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

COARSEST = 2.0**-8  # what a scale may lose, of itself: one unit in the last place of bfloat16


def cast(numbers: torch.Tensor, dtype: ir.DataType, layer: str) -> torch.Tensor:
    """Scales of a layer in the graph's type; :class:`Unsound` where they lose more than COARSEST."""
    import torch

    kind = {"FLOAT": torch.float32, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16}[dtype.name]
    wide = numbers.float()
    held = wide.to(kind)
    worst = ((held.float() - wide).abs() > wide.abs() * COARSEST).sum().item()
    if worst or not torch.isfinite(held).all():
        raise Unsound(f"{layer} has {worst} scales that {kind} cannot hold; export in bfloat16 or float32")
    return held
