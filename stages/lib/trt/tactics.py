"""tactics.json: what was chosen for each layer in a build, beside the timings that it was chosen by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib.trt.inspect import changed

CACHE = "timing.cache"
NAME = "tactics.json"


@dataclass(frozen=True)
class Choice:
    """`of` is what was built: the graph's digest, the profiles, the level. Only choices of the same can be compared."""

    of: Mapping[str, Any]
    tactics: Mapping[str, str]


def write(folder: Path, choice: Choice) -> None:
    text = json.dumps({"format": 1, **asdict(choice)}, indent=1, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Choice:
    """ValueError when it is no such file."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return Choice(dict(found["of"]), dict(found["tactics"]))
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise ValueError(f"{NAME} cannot be read: {e}") from e


def compare(before: Choice, after: Choice) -> int | None:
    """Layers whose tactic is another; None when something else was built, or the inspector told no tactics of one."""
    if json.dumps(before.of, sort_keys=True) != json.dumps(after.of, sort_keys=True):
        return None
    if not before.tactics or not after.tactics:
        return None
    return changed(before.tactics, after.tactics)
