"""The shapes that an engine is built for: which profiles there are, what each tensor measures in them, and which one
takes a given call.

It knows numbers and the names of the graph's tensors. It must not know TensorRT.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Range = tuple[int, int, int]  # least, the one that is tuned for, most
LEAST = 16  # slots of a cache; a prompt is read over one that is empty, and TensorRT wants no empty tensors
_CACHE = re.compile(r"cache\.\d+\.(key|value)")


@dataclass(frozen=True)
class Profile:
    """Sizes that one profile takes. `tokens` are those of a row in one call, `length` the cache's slots a row, `rows`
    the positions whose logits are asked for.
    """

    use: str  # decode, prefill or score
    batch: Range
    tokens: Range
    length: Range
    rows: Range

    def takes(self, batch: int, tokens: int, length: int, rows: int) -> bool:
        asked = ((batch, self.batch), (tokens, self.tokens), (length, self.length), (rows, self.rows))
        return all(low <= n <= high for n, (low, _, high) in asked)

    def __str__(self) -> str:
        sizes = (("batch", self.batch), ("tokens", self.tokens), ("length", self.length), ("rows", self.rows))
        return f"{self.use}: " + ", ".join(f"{name} {_span(size)}" for name, size in sizes)


@dataclass(frozen=True)
class Pass:
    """Tokens [start, stop) of a call. `rows` are positions among them, `places` where their logits belong: fewer than
    rows when none was asked for.
    """

    profile: int
    start: int
    stop: int
    rows: list[int]
    places: list[int]


def _span(size: Range) -> str:
    return str(size[0]) if size[0] == size[2] else f"{size[0]}-{size[2]}"


def plan(decode: Sequence[tuple[int, int]], prefill: int, score: int, spans: bool = False) -> list[Profile]:
    """The profiles of an engine: one for each decode (batch, length), then those of prompts.

    A decode profile takes its own batch alone, or with `spans` all from the next smaller one of the same length on; the
    cache's length is fixed in both.
    `prefill` and `score` are the most tokens of a row in one pass; of prefill one position gives logits, of score all
    may. Both take every batch up to the largest and every cache length of decode, so that a prompt lands in the cache
    that its decoding reads. score 0 is none. ValueError says what cannot be.
    """
    if not decode:
        raise ValueError("no batch and length is given")
    for n, (batch, length) in enumerate(decode):
        if batch < 1 or length < LEAST:
            raise ValueError(f"batch is {batch} and length is {length}; they must be 1 and {LEAST} or more")
        if (batch, length) in decode[:n]:
            raise ValueError(f"batch {batch} with length {length} is given twice")
    most = max(batch for batch, _ in decode)
    lengths = [length for _, length in decode]
    length = (min(lengths), max(lengths), max(lengths))
    profiles = [
        Profile("decode", (_least(decode, b, t) if spans else b, b, b), (1, 1, 1), (t, t, t), (1, 1, 1))
        for b, t in decode
    ]
    # A pass of more tokens than the cache has slots could never be.
    tokens = min(prefill, max(lengths))
    profiles.append(Profile("prefill", (1, most, most), (1, tokens, tokens), length, (1, 1, 1)))
    if score:
        tokens = min(score, max(lengths))
        profiles.append(Profile("score", (1, 1, most), (1, tokens, tokens), length, (1, tokens, tokens)))
    return profiles


def _least(decode: Sequence[tuple[int, int]], batch: int, length: int) -> int:
    return 1 + max((b for b, t in decode if t == length and b < batch), default=0)


def shapes(name: str, declared: Sequence[int], profile: Profile) -> tuple[tuple[int, ...], ...]:
    """Least, tuned and largest shape of a graph's input; `declared` has -1 where a size is dynamic. ValueError for one
    that no decoder has.
    """
    if name == "input_ids":
        sizes = (profile.batch, profile.tokens)
    elif name == "lengths":
        sizes = (profile.batch,)
    elif name == "rows":
        sizes = (profile.rows,)
    elif _CACHE.fullmatch(name) and len(declared) == 4:
        heads, size = declared[1], declared[3]
        sizes = (profile.batch, (heads,) * 3, profile.length, (size,) * 3)
    else:
        raise ValueError(f"the graph has an input {name}, {list(declared)}, that no decoder has")
    return tuple(zip(*sizes, strict=True))


def choose(profiles: Sequence[Profile], batch: int, tokens: int, length: int, rows: int) -> int | None:
    """The number of the first profile that takes a call; decode profiles stand first."""
    return next((n for n, p in enumerate(profiles) if p.takes(batch, tokens, length, rows)), None)


def cache_length(profiles: Sequence[Profile], batch: int, length: int) -> int | None:
    """Slots of a row's cache that are to hold `length` tokens: the least that a decode profile of this batch has, else
    the least that any profile takes.
    """
    decoded = [p for p in profiles if p.use == "decode" and p.batch[0] <= batch <= p.batch[2]]
    if fixed := [p.length[0] for p in decoded if p.length[0] >= length]:
        return min(fixed)
    fitting = [p for p in profiles if p.takes(batch, 1, max(length, p.length[0]), 1)]
    return min((max(length, p.length[0]) for p in fitting), default=None)


def passes(profiles: Sequence[Profile], batch: int, tokens: int, length: int, rows: Sequence[int]) -> list[Pass]:
    """The passes that feed `tokens` tokens of each row and give the logits of the positions `rows`, in that order.

    Empty when no profile can: then more positions are asked for than one pass gives, or the batch is not among those
    that the engine was built for.
    """
    for n, p in enumerate(profiles):
        if p.tokens[2] == 1 < tokens:
            continue  # not token by token
        size = min(tokens, p.tokens[2])
        found = [_pass(n, start, min(start + size, tokens), rows) for start in range(0, tokens, size)]
        if all(p.takes(batch, one.stop - one.start, length, len(one.rows)) for one in found):
            return found
    return []


def _pass(profile: int, start: int, stop: int, rows: Sequence[int]) -> Pass:
    places = [n for n, row in enumerate(rows) if start <= row < stop]
    # The graph gives at least one position's logits.
    return Pass(profile, start, stop, [rows[n] - start for n in places] or [0], places)


def encode(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """As engine.json holds them."""
    return [asdict(p) for p in profiles]


def decode(found: Any) -> list[Profile]:
    """What :func:`encode` gave; ValueError for anything else."""
    try:
        return [Profile(**{k: v if k == "use" else _range(v) for k, v in entry.items()}) for entry in found]
    except (TypeError, AttributeError, ValueError) as e:
        raise ValueError(f"its profiles cannot be read: {e}") from e


def _range(value: Any) -> Range:
    low, best, high = (int(n) for n in value)
    return low, best, high
