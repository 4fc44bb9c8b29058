"""The keys and values that an engine reads: a tensor of fixed size on the device, and how full each row is."""

from __future__ import annotations

from math import prod

import torch

from lib.llm.decoder import Unfit

ALIGN = 256  # bytes that each tensor given to TensorRT must begin on


class Cache:
    """Slots of `batch` rows, of which `limit` a row may be filled.

    `tensor` is [2·layers, batch, kv_heads, slots, head_dim], keys and values in turns. `lengths`, int64 [batch], says
    how many slots of each row count; what lies behind is never seen and need not be cleared. `longest` is the largest
    of them, known without asking the device.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], limit: int, like: torch.Tensor) -> None:
        self.batch, self.slots, self.limit = shape[1], shape[3], limit
        self.tensor = aligned(shape, like).zero_()
        self.lengths = torch.zeros(self.batch, dtype=torch.int64, device=like.device)
        self.longest = 0

    def named(self) -> dict[str, torch.Tensor]:
        """By the names of the graph's inputs."""
        return name("cache", self.tensor)

    def room(self, tokens: int) -> torch.Tensor:
        """Where the keys and values of `tokens` new tokens a row are to be written: [2·layers, batch, kv_heads, tokens,
        head_dim].
        """
        layers, batch, heads, _, size = self.tensor.shape
        return aligned((layers, batch, heads, tokens, size), self.tensor)

    def write(self, new: torch.Tensor) -> None:
        """Put new keys and values behind those of each row, by one kernel for all layers, and count them on the device.

        The caller counts `longest`: this runs inside a captured step too.
        """
        at = self.lengths[:, None] + torch.arange(new.shape[3], device=new.device)
        self.tensor.scatter_(3, at[None, :, None, :, None].expand(new.shape), new)
        self.lengths.add_(new.shape[3])

    def check(self, ids: torch.Tensor, more: int) -> None:
        """:class:`Unfit` unless ids have as many rows as are held, and `more` tokens a row have room."""
        if len(ids) != self.batch:
            raise Unfit(f"{len(ids)} rows are given; {self.batch} are opened")
        if self.longest + more > self.limit:
            raise Unfit(f"{self.longest} tokens and {more} more are too many for rows of {self.limit}")

    def rewind(self, length: int | torch.Tensor) -> None:
        if isinstance(length, int):
            self.lengths.fill_(length)
            self.longest = length
        else:
            self.lengths.copy_(length)
            self.longest = int(length.max())


def aligned(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """An uninitialized tensor of `like`'s type and device, of which each slice of the first dimension is aligned."""
    size = prod(shape[1:])
    step = ALIGN // like.element_size()
    flat = torch.empty(shape[0], -(-size // step) * step, dtype=like.dtype, device=like.device)
    return flat[:, :size].view(shape)


def name(kind: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Slices of a tensor of keys and values, by the graph's names: cache.0.key, cache.0.value, …"""
    return {f"{kind}.{n // 2}.{('key', 'value')[n % 2]}": part for n, part in enumerate(tensor)}
