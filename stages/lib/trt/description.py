"""engine.json: what an engine was built by, for which GPU, and for which shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.trt import profiles
from lib.trt.profiles import Profile

NAME = "engine.json"
PLAN = "engine.plan"
FORMAT = 1


@dataclass(frozen=True)
class Description:
    """`version` is TensorRT's, `gpu_arch` as the fact gpu.arch has it; an engine runs on no other of either."""

    version: str
    gpu_name: str
    gpu_arch: str
    profiles: Sequence[Profile]

    def check(self, version: str, arch: str) -> None:
        """ValueError when this TensorRT or this GPU cannot run the engine."""
        if self.version != version:
            raise ValueError(f"the engine was built by TensorRT {self.version}; this is {version}")
        if self.gpu_arch != arch:
            raise ValueError(f"the engine was built for {self.gpu_arch}; this GPU is {arch}")


def write(folder: Path, described: Description) -> None:
    found = {
        "format": FORMAT,
        "tensorrt": described.version,
        "gpu_name": described.gpu_name,
        "gpu_arch": described.gpu_arch,
        "profiles": profiles.encode(described.profiles),
    }
    (folder / NAME).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Description:
    """ValueError says what is wrong with it."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"{NAME} cannot be read: {e}") from e
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{NAME} is not of format {FORMAT}")
    texts = [found.get(name) for name in ("tensorrt", "gpu_name", "gpu_arch")]
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{NAME} does not say TensorRT's version and the GPU")
    try:
        return Description(*texts, profiles.decode(found.get("profiles")))
    except ValueError as e:
        raise ValueError(f"{NAME}: {e}") from e
