"""What a benchmark asks of an engine, and which one a model is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from benchmark.asked import Asked, Model
from lib.speed.samples import Run
from tinfra_worker import Job

if TYPE_CHECKING:
    import numpy as np


class Engine(Protocol):
    """An engine whose libraries are imported and whose model is not loaded yet."""

    name: str  # with version, device and type
    versions: dict[str, str]
    ends: frozenset[int]  # tokens that end a text, never chosen in a run; known once loaded
    weight_bytes: int  # that one step reads of the weights; 0 where it is not known. Known once loaded

    def load(self) -> None:
        """Bring the model to where it computes."""

    def first_logits(self, ids: np.ndarray) -> np.ndarray:
        """Logits after each prompt, float32 [batch, vocabulary], nothing barred; ids, int64 [batch, prompt]."""

    def run(self, ids: np.ndarray, tokens: int) -> Run:
        """Generate greedily `tokens` new tokens after each prompt, timed."""

    def device_peak(self) -> int | None:
        """Most bytes allocated on the GPU since the load; None on the CPU."""


def make_engine(job: Job, asked: Asked, model: Model) -> Engine:
    """Import the engine's libraries, and no other's: they would count as its memory."""
    if model.backend == "genai":
        from benchmark.genai import Genai

        return Genai(model, asked)
    if model.backend == "generate":
        from benchmark.generate import Generate

        return Generate(job, asked)
    from benchmark.decoded import Decoded

    return Decoded(job, asked, model)
