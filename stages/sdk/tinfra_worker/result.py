"""result.json: what a worker made; written last, by rename."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .event import metric_name
from .request import VERSION, inside
from .strictjson import Malformed, join, parse, strings, take

FIELDS = ("protocol", "metrics", "labels", "observed", "resolved", "reused")
LIMIT = 1 << 20  # bytes


@dataclass
class Result:
    """Metrics are finite numbers; labels go on every output; observed is kept in the record; resolved in the lock.

    reused names files of outputs, `port/path`, and the file of an input, `port/path` or `port[key]/path`, that each is.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    resolved: dict[str, str] = field(default_factory=dict)
    reused: dict[str, str] = field(default_factory=dict)


def decode(text: str) -> Result:
    """Read result.json's text; :class:`Malformed` names the field that is wrong."""
    obj = parse(text)
    version = take(obj, "protocol", int)
    if version != VERSION:
        raise Malformed(f"protocol is {version}; this side speaks {VERSION}")
    for name in obj:
        if name not in FIELDS:
            raise Malformed(f"{name} is not a field of a result; these are: {', '.join(FIELDS)}")
    metrics = take(obj, "metrics", dict, default={})
    return Result(
        metrics={metric_name(k, join("metrics", k)): take(metrics, k, float, "metrics") for k in metrics},
        labels=strings(obj, "labels"),
        observed=strings(obj, "observed"),
        resolved=strings(obj, "resolved"),
        reused=_reused(obj),
    )


def _reused(obj: dict[str, Any]) -> dict[str, str]:
    files = strings(obj, "reused")
    for at in [*files, *files.values()]:
        if "/" not in at or not inside(at):
            raise Malformed(f"reused: {at!r} is not a port and a path below it")
    return files


def write(path: Path, result: Result) -> None:
    """Write the file beside its place, sync it, and rename it: a reader sees all of it or nothing."""
    body = {"protocol": VERSION, "metrics": result.metrics}
    for name in ("labels", "observed", "resolved", "reused"):
        if value := getattr(result, name):
            body[name] = value
    text = json.dumps(body, allow_nan=False, ensure_ascii=False, sort_keys=True)
    decode(text)
    data = text.encode()
    if len(data) > LIMIT:
        raise Malformed(f"the result has {len(data)} bytes; at most {LIMIT} are allowed")
    part = path.with_name(path.name + ".part")
    with part.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    part.replace(path)
