"""How many rows a decoder holds, and how much room is left in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.llm.decoder import Unfit

if TYPE_CHECKING:
    import torch


@dataclass
class Rows:
    """`batch` rows of up to `length` tokens; `longest` is what the fullest holds, known without asking a device."""

    batch: int
    length: int
    longest: int = 0

    def room(self, ids: torch.Tensor, more: int) -> None:
        """:class:`Unfit` unless ids are as many rows, each with room for `more` tokens."""
        if len(ids) != self.batch:
            raise Unfit(f"{len(ids)} rows are given; {self.batch} are opened")
        if self.longest + more > self.length:
            raise Unfit(f"{self.longest} tokens and {more} more are too many for rows of {self.length}")


def open_rows(batch: int, length: int, most: int) -> Rows:
    """Empty rows, for a model that takes `most` tokens."""
    if batch < 1 or not 1 <= length <= most:
        raise Unfit(f"{batch} rows of {length} tokens are asked for; the model takes from 1 row, of 1 to {most}")
    return Rows(batch, length)


def opened(rows: Rows | None) -> Rows:
    if rows is None:
        raise Unfit("nothing is opened")
    return rows
