"""A loaded causal LM with a cache on its device, whichever library computes it: what checks, scores and timings ask.

It knows which backend runs which folder. It must not know what the logits are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Unfit(ValueError):
    """A model, a shape or a type that a decoder cannot take; the message says what it could."""


@dataclass(frozen=True)
class Made:
    """What one `generate` chose, and when.

    `tokens`, int64 [batch, tokens], lie on the CPU. `first_seconds` pass from the call until the first token of each
    row is known; `step_seconds` is one entry for each token after it. Their sum is the time of the whole call.
    """

    tokens: torch.Tensor
    first_seconds: float
    step_seconds: list[float]


class Feeder(Protocol):
    """Takes tokens and gives logits. `dtype` is what it computes in, `engine` what computes it, with its version.

    `vocabulary` is the width of its logits. Ids that are given may lie on any device.
    """

    vocabulary: int
    dtype: str
    engine: str
    device: torch.device

    def open(self, batch: int, length: int) -> None:
        """Hold `batch` rows of up to `length` tokens, empty, in place of what was held; :class:`Unfit`."""
        ...

    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Append ids, int64 [batch, S], each row behind what it holds; :class:`Unfit` when a row would be too long.

        Returns logits [batch, R, vocabulary], on the device, of those of the S positions that `rows`, int64 [R], names.
        """
        ...

    def rewind(self, length: int | torch.Tensor = 0) -> None:
        """Forget all but the first `length` tokens, of all rows or, int64 [batch], of each.

        So rows of different lengths are given with padding behind them, and rewound to where each of them ends.
        :class:`Unfit` from those whose rows are of one length.
        """
        ...


class Decoder(Feeder, Protocol):
    """A feeder that also chooses tokens. `weight_bytes` are what a step reads of the weights: all but the embedding."""

    weight_bytes: int

    def generate(self, ids: torch.Tensor, tokens: int, bar: torch.Tensor) -> Made:
        """Choose `tokens` tokens greedily after prompts, int64 [batch, S], in rows that begin anew.

        Prompt and tokens must fit the opened length. Nothing is said of what is held afterwards: rewind to 0. `bar`,
        int64 [n], are tokens never chosen, as those that end a text; n may be 0.
        """
        ...


def open_decoder(folder: Path, backend: str, dtype: str) -> Decoder:
    """Load a model for `backend` on the visible GPU, else the CPU.

    `dtype` is float32, float16 or bfloat16; an engine and a graph have their own, which must be the same. ValueError,
    of which :class:`Unfit` is one, says why the folder cannot be run so.
    """
    decoder = _BACKENDS[backend](folder, dtype)
    if decoder.dtype != dtype:
        raise Unfit(f"the model computes in {decoder.dtype}, and {dtype} is asked of {backend}")
    return decoder


def _steady(folder: Path, dtype: str) -> Decoder:
    from lib.llm.steady import SteadyDecoder

    return SteadyDecoder(folder, dtype)


def _humming(folder: Path, dtype: str) -> Decoder:
    from lib.llm.humming import Humming
    from lib.llm.steady import SteadyDecoder

    return SteadyDecoder(folder, dtype, Humming())


def _generate(folder: Path, dtype: str) -> Decoder:
    from lib.llm.hub import open_hub

    return open_hub(folder, dtype, static=False)


def _generate_static(folder: Path, dtype: str) -> Decoder:
    from lib.llm.hub import open_hub

    return open_hub(folder, dtype, static=True)


def _tensorrt(folder: Path, _dtype: str) -> Decoder:
    from lib.trt.engine import EngineDecoder

    return EngineDecoder(folder)


def _onnxruntime(folder: Path, _dtype: str) -> Decoder:
    from lib.llm.ort import OrtDecoder

    return OrtDecoder(folder)


# Each imports its own libraries, and no other's.
_BACKENDS: dict[str, Callable[[Path, str], Decoder]] = {
    "steady": _steady,
    "humming": _humming,
    "generate": _generate,
    "generate_static": _generate_static,
    "tensorrt": _tensorrt,
    "onnxruntime": _onnxruntime,
}
BACKENDS = tuple(_BACKENDS)
