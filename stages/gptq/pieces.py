"""Finished decoder layers, kept for the next attempt.

Each is a piece of its own, one file that is named by its digest, and names the digest of the piece before it; the
first names what all is made from. So no damaged piece is used, none of another job, and none of a layer that saw other
activations than this attempt's layers make.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tinfra_worker import Job

if TYPE_CHECKING:
    import torch

# The one entry of a file's metadata. safetensors writes several in any order, and equal layers would differ.
NOTE = "piece"


@dataclass(frozen=True)
class Piece:
    """The parameters of a decoder layer's linear layers, by full name, and which of these were merely rounded."""

    tensors: dict[str, torch.Tensor]
    rounded: list[str]


class Pieces:
    """The pieces of one job, in the order in which its layers are finished."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._folder = Path(job.request.checkpoint) if job.request.checkpoint else None
        self._count = 0
        self._last = origin(job)

    def restored(self) -> Iterator[Piece]:
        """What earlier attempts kept, up to the first piece that cannot be used. It must be read to its end."""
        while (piece := self._next()) is not None:
            yield piece

    def keep(self, piece: Piece) -> None:
        """Keep the next layer. Where it cannot be kept the job goes on, and the next attempt does so from here."""
        from safetensors import SafetensorError

        if self._folder is None:
            return
        try:
            with TemporaryDirectory(dir=self._job.workspace / "tmp") as space:
                path = write(Path(space), piece, self._last)
                self._job.checkpoint(self._name, [path])
        except (OSError, ValueError, RuntimeError, SafetensorError) as e:  # also: tensors it cannot write
            self._job.log(f"finished layers are no longer kept: {e}", "warning")
            for half in self._folder.glob(".*"):
                shutil.rmtree(half, ignore_errors=True)
            self._folder = None
            return
        self._count += 1
        self._last = path.stem

    def _next(self) -> Piece | None:
        from safetensors import SafetensorError

        if self._folder is None or not (folder := self._folder / self._name).is_dir():
            return None
        try:
            digest, piece = read(folder, self._last)
        except (OSError, ValueError, LookupError, SafetensorError) as e:
            self._job.log(f"{self._name} of an earlier attempt is not used, nor what came after it: {e}", "warning")
            return None
        self._job.restored(self._name)
        self._count += 1
        self._last = digest
        return piece

    @property
    def _name(self) -> str:
        return f"layer-{self._count:04d}"


def origin(job: Job) -> str:
    """A digest of what a job's layers are made from and by."""
    made_from = {
        "inputs": {port: given.digest for port, given in job.request.inputs.items()},
        "params": job.params,
        "versions": {name: version(name) for name in ("compressed-tensors", "llmcompressor", "torch", "transformers")},
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def write(folder: Path, piece: Piece, after: str) -> Path:
    """Write a piece that follows the one of digest `after`, under its own digest."""
    from safetensors.torch import save_file

    part = folder / "part"
    save_file(piece.tensors, part, {NOTE: json.dumps({"after": after, "rounded": piece.rounded})})
    with part.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    return part.rename(folder / f"{digest}.safetensors")


def read(folder: Path, after: str) -> tuple[str, Piece]:
    """Digest and content of a piece that follows the one of digest `after`; ValueError says what is wrong with it."""
    from safetensors.torch import load

    (path,) = folder.iterdir()
    data = path.read_bytes()  # once: what is checked is what is used
    digest = hashlib.sha256(data).hexdigest()
    if path.name != f"{digest}.safetensors":
        raise ValueError(f"{path.name} is damaged")
    note = json.loads(header(data)["__metadata__"][NOTE])
    if note["after"] != after:
        raise ValueError("it was made from something else")
    return digest, Piece(load(data), note["rounded"])


def header(data: bytes) -> dict[str, Any]:
    """The header of a safetensors file, which the library only reads from a path."""
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
