"""Tensors that a graph needs beside the checkpoint's own: made one after another, written to one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.hf.header import SIZES, Place, make_header
from lib.onnx.decoder.tape import Tape, outside

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

FILE = "added.safetensors"
_HEADER = {"FLOAT": "F32", "BFLOAT16": "BF16", "FLOAT16": "F16", "INT4": "U8"}


@dataclass(frozen=True)
class _Entry:
    value: ir.Value
    shape: tuple[int, ...]  # as the file has it: INT4 is bytes of two
    make: Callable[[], torch.Tensor]


class Added:
    """What is to be written. Nothing is made before :meth:`write`, and one tensor is held at a time."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._entries: dict[str, _Entry] = {}

    def put(self, name: str, dtype: ir.DataType, shape: Sequence[int], make: Callable[[], torch.Tensor]) -> ir.Value:
        """A tensor of the graph that `make` gives: of `dtype` and `shape`, or uint8 for INT4."""
        value = self._tape.later(name, dtype, shape)
        held = tuple(shape) if dtype.name != "INT4" else (*shape[:-1], shape[-1] // 2)
        self._entries[name] = _Entry(value, held, make)
        return value

    def write(self, folder: Path, tell: Callable[[int, int], None]) -> None:
        """Write the file and tell the graph where its tensors lie. `tell` is given how many of all."""
        import torch

        head = make_header({n: (_HEADER[e.value.dtype.name], e.shape) for n, e in self._entries.items()})
        at = len(head)
        with (folder / FILE).open("wb") as f:
            f.write(head)
            for done, (name, entry) in enumerate(self._entries.items(), 1):
                made = entry.make().contiguous().view(torch.uint8).cpu()
                kind = _HEADER[entry.value.dtype.name]
                length = math.prod(entry.shape) * SIZES[kind]
                if made.nbytes != length:
                    raise ValueError(f"{name} has {made.nbytes} bytes, not {length}")
                f.write(memoryview(made.numpy()).cast("B"))
                place = Place(FILE, at, length, kind, entry.shape)
                shape = [int(size) for size in entry.value.shape or ()]
                entry.value.const_value = outside(name, place, entry.value.dtype, shape)
                at += length
                tell(done, len(self._entries))
