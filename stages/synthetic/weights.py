"""Seeded weights, written to safetensors block by block: the same bytes by any number of threads, in bounded memory.

Weights are uniform numbers made of the generator's bits by exact operations only: a normal distribution would go
through the machine's own log and sin, which differ in the last bit. The standard deviation is 0.02, as Llama's is.

A block depends on the seed, the tensor's name and its own number alone, so it does not matter who draws it. Each thread
holds one block at a time, in float32 and in the type that is stored: 32 MiB at most.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.hf.header import SIZES, make_header

if TYPE_CHECKING:
    import torch

SHARD = 4 << 30  # bytes
BLOCK = 1 << 22  # numbers
WIDTH = 0.02 * math.sqrt(12)  # of a uniform distribution whose deviation is 0.02
STORED = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}  # safetensors' name

Shapes = list[tuple[str, tuple[int, ...]]]
_own = threading.local()  # a thread's buffers, kept: what malloc holds on to in its arenas would be several times them


@dataclass(frozen=True)
class Block:
    """Numbers `first` to `first + count` of a tensor, to stand at a byte of an open file."""

    tensor: str
    first: int
    count: int
    drawn: bool  # else ones, as norms are
    file: int
    at: int


@dataclass(frozen=True)
class Writer:
    """What all files of a model have in common."""

    dtype: str  # torch's name
    seed: int
    threads: int
    shard: int = SHARD

    def write(self, folder: Path, shapes: Shapes, tell: Callable[[int, int], None]) -> None:
        """Write all tensors in files of `shard` bytes at most, and their index where there are several.

        `tell` is given how many numbers are written, and of how many. A larger tensor gets a file of its own.
        """
        size = SIZES[STORED[self.dtype]]
        parts = split(shapes, size, self.shard)
        total = sum(math.prod(shape) for _, shape in shapes)
        names = [f"model-{n:05}-of-{len(parts):05}.safetensors" for n in range(1, len(parts) + 1)]
        names = names if len(parts) > 1 else ["model.safetensors"]
        done = 0
        pool = ThreadPoolExecutor(self.threads)
        try:
            for name, part in zip(names, parts, strict=True):
                for count in self._write_shard(pool, folder / name, part):
                    done += count
                    tell(done, total)
        finally:
            pool.shutdown(cancel_futures=True)
        if len(parts) > 1:
            where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor, _ in part}
            index = {"metadata": {"total_size": total * size}, "weight_map": where}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True))

    def _write_shard(self, pool: ThreadPoolExecutor, path: Path, part: Shapes) -> Iterator[int]:
        """Write one file; yields how many numbers each block brought, as they are done."""
        stored = STORED[self.dtype]
        head = make_header({name: (stored, shape) for name, shape in part})
        with path.open("wb") as f:
            f.write(head)
            f.flush()
            f.truncate(len(head) + sum(math.prod(shape) for _, shape in part) * SIZES[stored])
            blocks = _blocks(f.fileno(), len(head), part, self.dtype)
            for each in as_completed([pool.submit(self._fill, block) for block in blocks]):
                yield each.result()

    def _fill(self, block: Block) -> int:
        """Draw one block, cast it and write it. numpy, torch and the write let other threads run meanwhile."""
        import torch

        data = memoryview(numbers(block, getattr(torch, self.dtype), self.seed).view(torch.uint8).numpy())
        written = 0
        while written < len(data):
            written += os.pwrite(block.file, data[written:], block.at + written)
        return block.count


def split(shapes: Shapes, size: int, shard: int) -> list[Shapes]:
    """Tensors by file, in their order. `size` is the bytes of a number."""
    parts: list[Shapes] = [[]]
    filled = 0
    for name, shape in shapes:
        taken = math.prod(shape) * size
        if parts[-1] and filled + taken > shard:
            parts.append([])
            filled = 0
        parts[-1].append((name, shape))
        filled += taken
    return parts


def _blocks(file: int, at: int, part: Shapes, dtype: str) -> Iterator[Block]:
    size = SIZES[STORED[dtype]]
    for name, shape in part:
        length = math.prod(shape)
        for first in range(0, length, BLOCK):
            count = min(BLOCK, length - first)
            yield Block(name, first, count, len(shape) > 1, file, at + first * size)
        at += length * size


def numbers(block: Block, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """The numbers of a block, [count], in this thread's own memory: the next call overwrites them."""
    import numpy as np
    import torch

    if not hasattr(_own, "drawn"):
        _own.drawn, _own.cast = np.empty(BLOCK, np.float32), torch.empty(BLOCK, dtype=torch.float32)
    drawn, cast = _own.drawn[: block.count], _own.cast.view(dtype)[: block.count]
    if not block.drawn:
        return cast.fill_(1)
    order = block.first // BLOCK
    # The first block has no number of its own: that is how small tensors were always drawn.
    own = f"{seed}/{block.tensor}/{order}" if order else f"{seed}/{block.tensor}"
    start = int.from_bytes(hashlib.sha256(own.encode()).digest()[:16], "big")
    np.random.Generator(np.random.PCG64(start)).random(dtype=np.float32, out=drawn)
    drawn -= np.float32(0.5)
    drawn *= np.float32(WIDTH)
    return cast.copy_(torch.from_numpy(drawn))
