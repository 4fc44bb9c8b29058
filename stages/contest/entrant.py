"""Those who take part, loaded one after the other and all kept."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import torch

from contest.asked import Asked, Entry
from lib.gpu import memory
from lib.llm.decoder import Decoder, Unfit, open_decoder
from lib.speed.subject import Subject
from tinfra_worker import BadInput, BadParam, Job, Resources
from tinfra_worker.fault import shortage

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Opener = Callable[[Path, str, str], Decoder]


@dataclass
class Entrant:
    """An entry with its model loaded. `load_bytes` of the GPU are None on a CPU; of weights that are another one's too,
    those of `shares`, by name, count here as well. `shape` is the batch and length that are open; `held` are the bytes
    that it holds besides the weights.
    """

    entry: Entry
    subject: Subject
    decoder: Decoder
    load_seconds: float
    load_bytes: int | None
    shares: str = ""
    shape: tuple[int, int] = (0, 0)
    held: int = 0

    @property
    def approximate(self) -> bool:
        """Its numbers depend on the kernel by more than the last bits."""
        return self.subject.quantized or self.decoder.dtype != "float32"

    def open(self, batch: int, length: int) -> None:
        """Opens nothing anew that is open already: what is compiled and captured for a shape takes seconds."""
        if self.shape != (batch, length):
            self.shape = (0, 0)
            self.counted(partial(self.decoder.open, batch, length))
            self.shape = (batch, length)

    def first_logits(self, ids: np.ndarray) -> np.ndarray:
        """After each prompt, float32 [batch, vocabulary]; ids, int64 [batch, prompt]."""
        self.decoder.rewind()
        with torch.no_grad():
            logits = self.decoder.feed(torch.from_numpy(ids), torch.tensor([ids.shape[1] - 1]))
        return logits[:, 0].float().cpu().numpy()

    def counted(self, act: Callable[[], T]) -> T:
        """What `act` gives, with what it leaves allocated counted as held."""
        before = memory.free(self.decoder.device)
        made = act()
        after = memory.free(self.decoder.device)
        if before is not None and after is not None:
            self.held += before - after
        return made

    def has_room(self, peak: int | None, free: int | None) -> bool:
        """Whether twice the batch of which `peak` was measured finds memory among `free` bytes; True where none tells.

        What it holds is given back first. Memory that ends inside a capture is not always survived: so it is not tried.
        """
        if peak is None or free is None or self.load_bytes is None:
            return True
        return 2 * (peak - self.load_bytes) <= free + self.held

    def peak(self, free: int | None, left: int | None) -> int | None:
        """The most bytes of the GPU it had, of `free` ones before a run `left` being left by it; None on a CPU."""
        if free is None or left is None or self.load_bytes is None:
            return None
        return self.load_bytes + self.held + free - left


class Field:
    """Loads entries; `opener` is :func:`open_decoder` but in tests."""

    def __init__(self, job: Job, subjects: dict[str, Subject], opener: Opener = open_decoder) -> None:
        self._job, self._subjects, self._opener = job, subjects, opener
        self.vocabulary = min(s.vocabulary for s in subjects.values())  # what all have

    def load_all(self, asked: Asked) -> list[Entrant]:
        found: list[Entrant] = []
        for done, entry in enumerate(asked.entries):
            self._job.progress(done, len(asked.entries), "entries", "loading")
            found.append(self._attribute(self.load(entry, found), found))
        self._job.progress(len(found), len(found), "entries", "loading")
        return found

    def load(self, entry: Entry, beside: list[Entrant]) -> Entrant:
        """One entry; :class:`Resources` says who holds the memory where it does not fit beside the others."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        free, start = memory.free(device), perf_counter()
        subject = self._subjects[entry.model]
        try:
            decoder = self._opener(subject.folder, entry.backend, entry.dtype)
        except ImportError as e:
            raise BadParam("entries", f"{entry.name}: {entry.backend} needs {e.name}, which is not there") from e
        except Unfit as e:
            raise BadParam("entries", f"{entry.name}: {e}") from e
        except Exception as e:
            if full(e):
                others = ", ".join(f"{o.entry.name} {(o.load_bytes or 0) / 1e9:.1f} GB" for o in beside) or "nothing"
                raise Resources(
                    f"{entry.name} does not fit into memory beside {others}", "leave out an entry: all stay loaded"
                ) from e
            if isinstance(e, ValueError):
                raise BadInput("models", f"{entry.name}: {entry.backend} cannot run {entry.model}: {e}") from e
            raise
        now = memory.free(device)
        seconds = perf_counter() - start
        return Entrant(entry, subject, decoder, seconds, None if free is None or now is None else free - now)

    def _attribute(self, new: Entrant, before: list[Entrant]) -> Entrant:
        """Whose the weights are that it computes with. Backends of one library may share a model's: then the load
        brought next to nothing. One that brought less than its weights otherwise met memory that others gave back
        meanwhile.
        """
        weights = new.decoder.weight_bytes
        if new.load_bytes is None or new.load_bytes >= weights:
            return new
        same = [o for o in before if (o.entry.model, o.entry.dtype) == (new.entry.model, new.entry.dtype)]
        owner = next((old for old in same if not old.shares), None)
        if owner is not None and new.load_bytes <= weights / 2:
            new.shares, new.load_bytes = owner.entry.name, owner.load_bytes
            return new
        self._job.log(
            f"{new.entry.name} was loaded into {new.load_bytes / 1e9:.1f} GB, and its weights are {weights / 1e9:.1f}: "
            "others gave memory back meanwhile, so its own is not known",
            "warning",
        )
        new.load_bytes = None
        return new


def full(error: Exception) -> str | None:
    """What is told of a full memory; None when the error is another. CUDA's own words differ from those of torch."""
    found = shortage(error)
    if found is not None:
        return found.message
    return f"out of memory: {error}" if "out of memory" in str(error).lower() else None


def forget(device: torch.device) -> None:
    """Give back what nobody refers to any more, cycles included."""
    gc.collect()
    memory.give_back(device)
