"""request.json: what a worker is asked for."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from .strictjson import Malformed, check, parse, strings, take

VERSION = 1


@dataclass(frozen=True)
class Input:
    """An artifact laid out, read-only, under `path` (relative to the workspace)."""

    path: str
    type: str
    digest: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pin:
    """One file that a download must bring; size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Request:
    """request.json, checked."""

    kind: str
    params: dict[str, Any]
    inputs: dict[str, Input]
    outputs: dict[str, str]
    cpus: int
    memory_gib: float
    gpus: tuple[str, ...] = ()
    source: str = ""
    resolved: dict[str, str] = field(default_factory=dict)
    pins: tuple[Pin, ...] | None = None
    recipe_dir: str = ""
    checkpoint: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def decode(text: str) -> Request:
    """Read request.json's text; :class:`Malformed` names the field that is wrong. Unknown fields are ignored."""
    obj = parse(text)
    version = take(obj, "protocol", int)
    if version != VERSION:
        raise Malformed(f"protocol is {version}; this worker speaks {VERSION}")
    kind = take(obj, "kind", str)
    if not kind:
        raise Malformed("kind is empty")
    resources = take(obj, "resources", dict)
    cpus = take(resources, "cpus", int, "resources")
    if cpus < 1:
        raise Malformed(f"resources.cpus must be at least 1, not {cpus}")
    memory = take(resources, "memory_gib", float, "resources")
    if memory < 0:
        raise Malformed(f"resources.memory_gib must not be negative, as {memory} is")
    gpus = take(resources, "gpus", list, "resources", [])
    return Request(
        kind=kind,
        params=take(obj, "params", dict),
        inputs={name: _input(v, f"inputs.{name}") for name, v in take(obj, "inputs", dict).items()},
        outputs={k: check(v, str, f"outputs.{k}") for k, v in take(obj, "outputs", dict).items()},
        cpus=cpus,
        memory_gib=memory,
        gpus=tuple(check(g, str, f"resources.gpus[{i}]") for i, g in enumerate(gpus)),
        source=take(obj, "source", str, default=""),
        resolved=strings(obj, "resolved"),
        pins=_pins(obj),
        recipe_dir=_absolute(obj, "recipe_dir"),
        checkpoint=_absolute(obj, "checkpoint"),
        settings=take(obj, "settings", dict, default={}),
    )


def inside(path: str) -> bool:
    """Whether a path of the protocol (slashes, relative) stays where it starts."""
    if not path or path.startswith("/") or "\\" in path or "\0" in path:
        return False
    return ".." not in path.split("/") and posixpath.normpath(path) == path


def _input(value: Any, at: str) -> Input:
    obj = check(value, dict, at)
    path = take(obj, "path", str, at)
    if not inside(path):
        raise Malformed(f"{at}.path must stay below the workspace, not {path!r}")
    digest = take(obj, "digest", str, at)
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Malformed(f"{at}.digest must be sha256: and 64 hex digits, not {digest!r}")
    return Input(path, take(obj, "type", str, at), digest, strings(obj, "labels", at))


def _pins(obj: dict[str, Any]) -> tuple[Pin, ...] | None:
    if "pins" not in obj:
        return None
    return tuple(_pin(v, f"pins[{i}]") for i, v in enumerate(take(obj, "pins", list)))


def _pin(value: Any, at: str) -> Pin:
    obj = check(value, dict, at)
    path, sha, size = take(obj, "path", str, at), take(obj, "sha256", str, at), take(obj, "size", int, at)
    if not inside(path):
        raise Malformed(f"{at}.path must be relative and must not climb out, as {path!r} does")
    if not re.fullmatch(r"[0-9a-f]{64}", sha):
        raise Malformed(f"{at}.sha256 must be 64 hex digits, not {sha!r}")
    if size < 0:
        raise Malformed(f"{at}.size must not be negative, as {size} is")
    return Pin(path, sha, size)


def _absolute(obj: dict[str, Any], name: str) -> str:
    path = take(obj, name, str, default="")
    if path and not path.startswith("/"):
        raise Malformed(f"{name} must be an absolute path, not {path!r}")
    return path
