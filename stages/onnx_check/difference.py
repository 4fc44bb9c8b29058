"""How far logits are from those they should be."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SLICE = 1 << 25  # logits compared at once, in float32: 128 MiB, a few times
TOP = 5


class NotFinite(ValueError):
    """`port` gives logits that are no finite numbers."""

    def __init__(self, port: str) -> None:
        super().__init__(f"the {port} gives logits that are no finite numbers: its weights are broken")
        self.port = port


@dataclass(frozen=True)
class Difference:
    """Sums over logits and positions, so that differences add up.

    `squares` is of the differences, `wanted` of the logits that should be; `same` counts positions whose likeliest
    token is the same, `near` those where it is among the TOP that should be.
    """

    largest: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    wanted: float = 0.0
    logits: int = 0
    same: int = 0
    near: int = 0
    positions: int = 0

    def __add__(self, other: Difference) -> Difference:
        _, *mine = astuple(self)
        _, *theirs = astuple(other)
        return Difference(max(self.largest, other.largest), *(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def relative(self) -> float:
        """Root of the mean square of the differences over that of the logits."""
        return math.sqrt(self.squares / self.wanted) if self.wanted else math.sqrt(self.squares)

    def told(self) -> dict[str, float]:
        return {
            "max_difference": self.largest,
            "mean_difference": self.total / max(self.logits, 1),
            "relative_difference": self.relative,
            "same_top1": self.same / max(self.positions, 1),
            "same_top5": self.near / max(self.positions, 1),
            "positions": self.positions,
        }


def measure(got: torch.Tensor, want: torch.Tensor) -> Difference:
    """The difference of logits [positions, vocabulary], computed where `got` lies; :class:`NotFinite`."""
    found = Difference()
    step = max(1, SLICE // got.shape[1])
    for at in range(0, len(got), step):
        part = slice(at, at + step)
        found += _part(got[part].float(), want[part].to(got.device).float())
    return found


def _part(got: torch.Tensor, want: torch.Tensor) -> Difference:
    for port, logits in (("model", got), ("reference", want)):
        if not logits.isfinite().all():
            raise NotFinite(port)
    gap = (got - want).abs()
    chosen = got.argmax(-1, keepdim=True)
    near = want.topk(min(TOP, want.shape[1])).indices == chosen
    return Difference(
        largest=float(gap.max()),
        total=float(gap.double().sum()),
        squares=float(gap.double().square().sum()),
        wanted=float(want.double().square().sum()),
        logits=gap.numel(),
        same=int((chosen == want.argmax(-1, keepdim=True)).sum()),
        near=int(near.any(-1).sum()),
        positions=len(gap),
    )
