"""The tensors of a checkpoint by name: where they lie, and whether they are what its config says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lib.hf.header import Place, read_header
from lib.onnx.decoder.tape import STORED


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
        place = self.find(name, shape)
        if place.dtype not in STORED:
            raise Unsound(f"{name} is stored as {place.dtype}; {', '.join(STORED)} are exported")
        self.used.add(place.file)
        return place

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
