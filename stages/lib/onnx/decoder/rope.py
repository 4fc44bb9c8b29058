"""Rotary positions: tables of cos and sin, gathered once for all layers, and the turning of heads by them.

Source: Su et al. 2021, in the halves form that Llama checkpoints have. 1/√head_dim, which attention divides by, is part
of the queries' tables: the weights stay what they are, and TensorRT looks for the scale before the first product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.onnx.decoder.added import Added
from lib.onnx.decoder.tape import Tape

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

KINDS = ("default", "linear", "llama3", "yarn")  # of transformers' rope_type: those that do not hang on the length


@dataclass(frozen=True)
class Turn:
    """cos and sin, [B, 1, S, D/2], of the positions of this pass."""

    cos: ir.Value
    sin: ir.Value


def tables(config: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tables of cos and sin, float64 [context, D/2], by transformers' own frequencies. ValueError for other KINDS.

    The angles are float32 products, as transformers makes them; cos and sin of them are exact to the last bit of
    float32, whichever machine they are made on.
    """
    import numpy as np
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    said = config.rope_parameters
    kind, partial = said.get("rope_type", "default"), said.get("partial_rotary_factor", 1.0)
    if kind not in KINDS or partial != 1:
        raise ValueError(f"rope_type is {kind} with partial_rotary_factor {partial}")
    if kind == "default":
        size = config.head_dim
        inverse, factor = 1.0 / (said["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float) / size)), 1.0
    else:
        inverse, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    at = np.arange(config.max_position_embeddings, dtype=np.float32)
    angles = np.outer(at, inverse.numpy()).astype(np.float64)
    return np.cos(angles) * factor, np.sin(angles) * factor


def gather(tape: Tape, added: Added, config: Any, positions: ir.Value) -> tuple[Turn, Turn]:
    """Turns for queries and for keys, of positions [B, S]."""
    import numpy as np
    import onnx_ir as ir
    import torch

    cos, sin = tables(config)
    scale = 1 / math.sqrt(config.head_dim)
    made = []
    for name, numbers in (("q.cos", cos * scale), ("q.sin", sin * scale), ("k.cos", cos), ("k.sin", sin)):
        held = torch.from_numpy(numbers.astype(np.float32))
        table = added.put(f"rope.{name}", ir.DataType.FLOAT, numbers.shape, lambda held=held: held)
        value = tape.op("Gather", [table, positions], f"rope.{name}.rows", axis=0)
        if tape.dtype != ir.DataType.FLOAT:
            value = tape.op("Cast", [value], f"rope.{name}.cast", to=tape.dtype.value)
        made.append(tape.op("Unsqueeze", [value, tape.whole("axis.1", [1])], f"rope.{name}.turn"))
    return Turn(*made[:2]), Turn(*made[2:])


def turn(tape: Tape, heads: ir.Value, by: Turn, size: int, name: str) -> ir.Value:
    """Heads, [B, H, S, D] with D = `size`, turned."""
    first, second = tape.split(heads, [size // 2, size // 2], [f"{name}.first", f"{name}.second"])
    made = []
    for part, a, b, sign in (("left", first, second, "Sub"), ("right", second, first, "Add")):
        straight = tape.op("Mul", [a, by.cos], f"{name}.{part}.cos")
        crossed = tape.op("Mul", [b, by.sin], f"{name}.{part}.sin")
        made.append(tape.op(sign, [straight, crossed], f"{name}.{part}"))
    return tape.op("Concat", made, name, axis=-1)
