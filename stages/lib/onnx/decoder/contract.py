"""What a decoder graph is for, in sizes: decoder.json, which runners and the engine's builder read.

Inputs: `input_ids` int64 [B, S] · `lengths` int64 [B], how many tokens of each row the cache holds · `rows` int64 [R],
which of the S positions give logits · `cache.<i>.key|value` [B, KV, T, D]. Outputs: `logits` [B, R, V] ·
`new.<i>.key|value` [B, KV, S, D], which the caller writes into its cache at lengths[b].

Token s of row b stands at position lengths[b] + s. It sees the slots t < lengths[b] of the cache and the new tokens up
to itself. So rows may differ in length, padding behind a row's text is harmless, and T never needs to be 0.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "decoder.json"
FORMAT = 1


@dataclass(frozen=True)
class Contract:
    """The sizes of a decoder graph, all that a runner must know of it."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    context: int  # positions that the tables hold
    dtype: str  # of cache and logits: float16, bfloat16 or float32
    ends: list[int]  # tokens that end a text
    weights: str  # float, int4 or int8
    group: int  # inputs that share a scale; 0 but for int4
    symmetric: bool  # no zero points
    weight_bytes: int  # what a step of one token reads: all weights but the embedding

    def write(self, folder: Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")


def read_contract(folder: Path) -> Contract:
    """decoder.json of a folder; ValueError when it is none of this format."""
    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if said.pop("format") != FORMAT:
            raise ValueError(f"{FILE} has another format than {FORMAT}")
        return Contract(**said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{FILE} cannot be read: {e}") from e
