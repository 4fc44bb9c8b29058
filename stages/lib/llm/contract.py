"""decoder.json: what a decoder's graph, and each engine made of it, says of itself.

Inputs: `input_ids` int64 [B, S] · `lengths` int64 [B], how many tokens of each row the cache holds · `rows` int64 [R],
which of the S positions give logits · `cache.<i>.key|value` [B, KV, T, D]. Outputs: `logits` [B, R, V] ·
`new.<i>.key|value` [B, KV, S, D], which the caller writes into its cache at lengths[b].

Token s of row b stands at position lengths[b] + s. It sees the slots t < lengths[b] of the cache and the new tokens up
to itself. So rows may differ in length, padding behind a row's text is harmless, and T never needs to be 0.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

NAME = "decoder.json"
FORMAT = 1


@dataclass(frozen=True)
class Contract:
    """The sizes of a decoder: `context` in tokens, `weight_bytes` what one step reads: all weights but the embedding.

    `dtype` is that of cache and logits: float16, bfloat16 or float32. `weights` are float, int4 or int8; int4 comes in
    groups of `group` inputs, int8 has one scale an output, and `group` 0. `symmetric` says that there are no zero
    points. `ends` are the tokens that end a text.
    """

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    context: int
    dtype: str
    ends: tuple[int, ...]
    weights: str
    group: int
    symmetric: bool
    weight_bytes: int

    def write(self, folder: Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        (folder / NAME).write_text(text, encoding="utf-8")


def read_contract(folder: Path) -> Contract:
    """The contract of a graph's or an engine's folder; ValueError says what is wrong with it."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"{NAME} cannot be read: {e}") from e
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{NAME} is not of format {FORMAT}")
    kinds = {"str": str, "int": int, "bool": bool, "tuple[int, ...]": list}
    for field in fields(Contract):
        value, kind = found.get(field.name), kinds[str(field.type)]
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            raise ValueError(f"{NAME} says {value!r} for {field.name}")
    ends = found["ends"]
    if not all(isinstance(end, int) and 0 <= end < found["vocabulary"] for end in ends):
        raise ValueError(f"{NAME} says {ends!r} for ends")
    return Contract(**{f.name: found[f.name] for f in fields(Contract)} | {"ends": tuple(ends)})
