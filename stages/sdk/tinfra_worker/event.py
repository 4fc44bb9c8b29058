"""events.jsonl: what a worker says while it works, one JSON object a line."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from .strictjson import Malformed, check, parse, take

TYPES = ("progress", "log", "metric", "problem")
LINE_LIMIT = 1 << 20  # bytes, without the line end
TEXT_LIMIT = 64 << 10  # characters kept of one message


def decode(line: str) -> dict[str, Any]:
    """Read one line; :class:`Malformed` says what is wrong with it. Unknown fields are ignored."""
    event = parse(line)
    kind = take(event, "type", str)
    if kind not in TYPES:
        raise Malformed(f"type {kind!r} is not one of {', '.join(TYPES)}")
    take(event, "time", float)
    _CHECKS[kind](event)
    return event


def _progress(event: dict[str, Any]) -> None:
    done, total = take(event, "done", float), take(event, "total", float, default=0)
    if done < 0 or total < 0:
        raise Malformed("done and total must not be negative")
    if total and done > total:
        raise Malformed(f"done is {done:g}, more than total, {total:g}")
    take(event, "unit", str, default="")
    take(event, "what", str, default="")


def _log(event: dict[str, Any]) -> None:
    take(event, "message", str)
    level = take(event, "level", str, default="info")
    if level not in ("info", "warning"):
        raise Malformed(f"level {level!r} is not one of info, warning")


def _metric(event: dict[str, Any]) -> None:
    metric_name(take(event, "name", str), "name")
    take(event, "value", float)


def _problem(event: dict[str, Any]) -> None:
    take(event, "message", str)
    for name in ("param", "input", "hint"):
        take(event, name, str, default="")


_CHECKS = {"progress": _progress, "log": _log, "metric": _metric, "problem": _problem}


def metric_name(name: str, at: str) -> str:
    """Check a metric's name: a plain identifier, since a recipe reads it as `metrics.name`."""
    check(name, str, at)
    if not (name.isascii() and name.isidentifier()):
        raise Malformed(f"{at} must be a plain name, not {name!r}")
    return name


class Writer:
    """Appends events to a file, each by one write, so that a reader never sees half of one. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: Any) -> None:
        """Write an event now. Empty texts are left out, long ones are cut."""
        cut = {k: _cut(v) for k, v in fields.items() if v != ""}
        line = json.dumps({"type": kind, "time": time.time(), **cut}, allow_nan=False, ensure_ascii=True)
        decode(line)
        data = line.encode() + b"\n"
        with self._lock:
            os.write(self._fd, data)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_LIMIT:
        return value[:TEXT_LIMIT] + " …"
    return value
