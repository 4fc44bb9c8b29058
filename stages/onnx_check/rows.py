"""Rows of a shape: their text, where each of them ends, and how they go through a decoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from lib.llm.decoder import Feeder


@dataclass(frozen=True)
class Shape:
    """Rows at once, tokens of the prefill and tokens after it."""

    batch: int
    length: int
    steps: int

    @property
    def tokens(self) -> int:
        """Of a row."""
        return self.length + self.steps

    def ends(self, ragged: bool) -> list[int]:
        """Where the prefill of each row ends: at `length`, or from there down to half of it."""
        return [self.length - (b * self.length // (2 * self.batch) if ragged else 0) for b in range(self.batch)]


def draw(shape: Shape, vocabulary: int, seed: list[int]) -> torch.Tensor:
    """Token ids, int64 [batch, length + steps]."""
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, vocabulary, (shape.batch, shape.tokens), dtype=np.int64))


@dataclass(frozen=True)
class Span:
    """Logits of positions [begin, begin + rows) of one row, [rows, vocabulary], and whether they are the prefill's."""

    row: int
    begin: int
    logits: torch.Tensor
    prefill: bool


def through_cache(
    model: Feeder, ids: torch.Tensor, shape: Shape, ends: list[int], only_last: bool
) -> Iterator[list[Span]]:
    """What each pass gives: a prefill, then one token at a time behind where each row ends.

    Rows that end before `length` are padded with other tokens than theirs, which are forgotten afterwards. Of a
    prefill's logits only the last may be asked for; rows that end before have none then.
    """
    import torch

    model.open(shape.batch, shape.tokens)
    given = ids[:, : shape.length].clone()
    for row, end in enumerate(ends):
        given[row, end:] = (given[row, end:] + 1) % model.vocabulary
    first = shape.length - 1 if only_last else 0
    logits = model.feed(given, torch.arange(first, shape.length))
    yield [Span(row, first, logits[row, : end - first], True) for row, end in enumerate(ends) if end > first]
    del logits
    if len(set(ends)) > 1:
        model.rewind(torch.tensor(ends))
    for step in range(shape.steps):
        at = torch.tensor(ends) + step
        logits = model.feed(ids.gather(1, at[:, None]), torch.tensor([0]))
        yield [Span(row, position, logits[row], False) for row, position in enumerate(at.tolist())]


def whole_rows(model: Feeder, ids: torch.Tensor) -> Iterator[torch.Tensor]:
    """Logits of each row in one pass of its own, [tokens, vocabulary], on the host."""
    import torch

    model.open(1, ids.shape[1])
    for row in ids:
        model.rewind()
        yield model.feed(row[None], torch.arange(len(row)))[0].cpu()
