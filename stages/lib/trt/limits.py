"""What TensorRT did otherwise than the graph asks, found in what it said and in what it made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lib.trt.inspect import Layer
from lib.trt.network import Weights

_FALLBACK = re.compile(r"fall(?:ing|s)? ?back|fallback", re.IGNORECASE)
_NARROW = re.compile(r"gemm_f16f16_f16f16_f16")  # products of float16 summed in float16
# What the parser says of every graph with 64-bit ids and a function that is used more than once.
_USUAL = re.compile(r"has Int64 binding|outputs? tensors of this new instance will not be queryable")
_HELD = re.compile(r"Total Weights Memory: (\d+) bytes")
_UNPACKED = 0.1  # of the integer weights; less is padding and tables
LEFT = ("fallback", "unpacked")  # kinds of limits by which TensorRT left what the graph asks for
_SEVERITIES = {"[WARNING": "warning", "[ERROR": "error", "[INTERNAL_ERROR": "error"}


@dataclass(frozen=True)
class Limit:
    """`kind` is fallback, unpacked, narrow, unfused, warning or error."""

    kind: str
    what: str


def find(lines: Sequence[str], layers: Sequence[Layer], weights: Weights, dtype: str) -> list[Limit]:
    """Limits of an engine: `lines` are what the library said, `layers` those of a decode profile."""
    found = [Limit("unpacked", what) for what in unpacked(weights, held(lines), dtype)]
    narrow = [layer.name for layer in layers if _NARROW.search(layer.tactic)]
    if narrow:
        found.append(Limit("narrow", f"{len(narrow)} products are summed in float16, {narrow[0]} among them"))
    if layers and not any("mha" in f"{layer.kind} {layer.tactic}".lower() for layer in layers):
        found.append(Limit("unfused", "no decode layer is a fused attention kernel"))
    for line in dict.fromkeys(lines):
        severity, _, text = line.partition("] ")
        if _USUAL.search(text):
            continue
        if _FALLBACK.search(text):
            found.append(Limit("fallback", text))
        elif severity in _SEVERITIES:
            found.append(Limit(_SEVERITIES[severity], text))
    return found


def held(lines: Sequence[str]) -> int:
    """Bytes of weights in the engine, by the library's own words; 0 where it does not say. Its file holds code too."""
    found = [int(match[1]) for match in map(_HELD.search, lines) if match]
    return max(found, default=0)


def unpacked(weights: Weights, size: int, dtype: str) -> list[str]:
    """Says so where an engine's weights are too large to be the graph's integers: the builder folded some to `dtype`.

    TensorRT 10.6 keeps INT4 weights, and folds INT8 ones whose activations are not quantized.
    """
    part = (size - weights.expected) / weights.unpacked if weights.unpacked else 0.0
    if part <= _UNPACKED:
        return []
    said = f"{size} bytes in place of {weights.expected}"
    return [f"about {min(part, 1):.0%} of the integer weights are held as {dtype}: {said}"]


def fallbacks(found: Sequence[Limit]) -> int:
    return sum(limit.kind in LEFT for limit in found)
