"""Rotary positions: tables of cos and sin, gathered once for all layers, and the turning of heads by them.

Source: Su et al. 2021, in the halves form that Llama checkpoints have. Queries are scaled by 1/√head_dim here, which
attention divides by: the weights stay what they are, and TensorRT looks for the scale before the first product.
"""

from __future__ import annotations

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
    """What turns the heads of queries and keys, which stand beside each other, at the positions of this pass."""

    cos: ir.Value  # [B, S, 1, D]
    sin: ir.Value  # [B, S, 1, D], negative in the first half
    swap: ir.Value  # [D], where each number's partner stands
    scale: ir.Value  # [heads + KV heads, 1], 1/√D of queries


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


def gather(tape: Tape, added: Added, config: Any, positions: ir.Value) -> Turn:
    """The turn of positions [B, S]."""
    import numpy as np
    import onnx_ir as ir
    import torch

    cos, sin = tables(config)
    made = []
    for name, halves in (("cos", [cos, cos]), ("sin", [-sin, sin])):
        held = torch.from_numpy(np.concatenate(halves, axis=1).astype(np.float32))
        table = added.put(f"rope.{name}", ir.DataType.FLOAT, held.shape, lambda held=held: held)
        value = tape.op("Gather", [table, positions], f"rope.{name}.rows", axis=0)
        if tape.dtype != ir.DataType.FLOAT:
            value = tape.op("Cast", [value], f"rope.{name}.cast", to=tape.dtype.value)
        made.append(tape.op("Unsqueeze", [value, tape.whole("axis.2", [2])], f"rope.{name}.turn"))
    half, size = config.head_dim // 2, config.head_dim
    swap = tape.whole("rope.swap", [*range(half, size), *range(half)])
    scales = [[size**-0.5]] * config.num_attention_heads + [[1.0]] * config.num_key_value_heads
    return Turn(*made, swap, tape.real("rope.scale", scales))


def turn(tape: Tape, heads: ir.Value, by: Turn, name: str) -> ir.Value:
    """Heads of queries and keys, [B, S, H, D], turned."""
    straight = tape.op("Mul", [heads, by.cos], f"{name}.straight")
    swapped = tape.op("Gather", [heads, by.swap], f"{name}.swapped", axis=-1)
    crossed = tape.op("Mul", [swapped, by.sin], f"{name}.crossed")
    return tape.op("Mul", [tape.op("Add", [straight, crossed], f"{name}.turned"), by.scale], name)
