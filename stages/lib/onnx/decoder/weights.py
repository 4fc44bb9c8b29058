"""The tensors of a checkpoint by name: where they lie, and whether they are what its config says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lib.hf.header import Place, read_header
from lib.onnx.decoder.tape import FLOATS

if TYPE_CHECKING:
    import torch


class Unsound(ValueError):
    """The checkpoint does not hold what its config says."""


@dataclass
class Weights:
    """Tensors of the safetensors files of a folder, whose headers are sound; `used` are those a graph points to."""

    folder: Path
    places: dict[str, Place]
    used: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def floats(self, name: str, shape: Sequence[int]) -> Place:
        """A float tensor of a shape, to be pointed at."""
        place = self.pointed(name, shape)
        if place.dtype not in FLOATS:
            raise Unsound(f"{name} is stored as {place.dtype}; {', '.join(FLOATS)} are exported")
        return place

    def pointed(self, name: str, shape: Sequence[int]) -> Place:
        """A tensor of a shape and any type, to be pointed at."""
        place = self.find(name, shape)
        self.used.add(place.file)
        return place

    def read(self, name: str, device: str = "cpu") -> torch.Tensor:
        """A tensor's numbers, as they are stored."""
        from safetensors import safe_open

        with safe_open(self.folder / self.find(name).file, framework="pt", device=device) as tensors:
            return tensors.get_tensor(name)

    def find(self, name: str, shape: Sequence[int] | None = None) -> Place:
        """Where a tensor lies; :class:`Unsound` where there is none of that shape."""
        if name not in self.places:
            raise Unsound(f"the model has no tensor {name}")
        place = self.places[name]
        if shape is not None and place.shape != tuple(shape):
            raise Unsound(f"{name} has shape {list(place.shape)}, not {list(shape)}")
        return place


def open_weights(folder: Path) -> Weights:
    """Read the headers of a folder's files; :class:`Unsound` where two hold the same tensor."""
    places: dict[str, Place] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found = read_header(path)
        if twice := sorted(found.keys() & places.keys()):
            raise Unsound(f"{twice[0]} is in {places[twice[0]].file} and in {path.name}")
        places |= found
    return Weights(folder, places)
