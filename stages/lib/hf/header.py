"""What a safetensors file begins with: names, types, shapes and where the bytes lie.

safetensors' own reader checks headers and gives tensors, but never says where in the file they are, and its writer
wants all of them in memory. Format: 8 bytes of length, little-endian, then JSON, then the tensors without a gap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SIZES = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1}  # bytes of a number, of the types that are written


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: from a byte of its file, so many bytes. `dtype` is safetensors' name."""

    file: str
    offset: int
    length: int
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Place]:
    """The tensors of a file whose header is sound: see lib.llm.checkpoint.check_model."""
    with path.open("rb") as f:
        size = int.from_bytes(f.read(8), "little")
        said = json.loads(f.read(size))
    return {
        name: Place(path.name, 8 + size + begin, end - begin, entry["dtype"], tuple(entry["shape"]))
        for name, entry in said.items()
        if name != "__metadata__"
        for begin, end in [entry["data_offsets"]]
    }


def make_header(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """The header of tensors (type and shape by name) that follow in this order; its length is a multiple of 8."""
    said: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * SIZES[dtype]
        said[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(said, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
