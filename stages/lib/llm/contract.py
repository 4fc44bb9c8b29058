"""decoder.json: what a decoder's graph, and each engine made of it, says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

NAME = "decoder.json"
FORMAT = 1


@dataclass(frozen=True)
class Contract:
    """The sizes of a decoder: `context` in tokens, `weight_bytes` what one step reads of the weights.

    `dtype` is what it computes in. `weights` are float, int4 or int8; int4 comes in groups of `group` inputs, int8 has
    one scale an output, and `group` 0. `ends` are the tokens that end a text.
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
