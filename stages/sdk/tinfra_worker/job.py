"""What a worker's main function is given."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from . import event
from .fault import BadInput, BadMetric, BadParam
from .request import Input, Request, inside
from .result import Result
from .strictjson import Malformed, check, number, said

T = TypeVar("T")
INTERVAL = 0.1  # seconds between two progress events of the same thing


class Job:
    """One attempt at one stage: what is asked for, where things lie, and how to speak."""

    def __init__(self, workspace: Path, request: Request, events: event.Writer) -> None:
        self.workspace = workspace
        self.request = request
        self.params: dict[str, Any] = request.params
        self.cpus = request.cpus
        self.result = Result()
        self._events = events
        self._told = ("", -math.inf)  # the last progress: of what, when

    # What is asked for.

    def param(self, name: str, kind: type[T]) -> T:
        """A param as stage.hcl's defaults and checks left it. Whole numbers pass as float; :class:`BadParam` else."""
        if name not in self.params:
            raise BadParam(name, f"{name} is not set", f"set {name} in the recipe")
        try:
            return check(self.params[name], kind, name)
        except Malformed as e:
            raise BadParam(name, str(e)) from e

    def strings(self, name: str) -> list[str]:
        """A param that is a list of strings."""
        values = self.param(name, list)
        for v in values:
            if not isinstance(v, str):
                raise BadParam(name, f"{name} must hold strings only, not {said(v)}")
        return values

    def has_input(self, port: str) -> bool:
        """Whether an optional port was given anything."""
        return port in self.request.inputs

    def input(self, port: str) -> Path:
        """The folder of an input port, absolute, read-only."""
        return self.workspace / self.input_info(port).path

    def input_info(self, port: str) -> Input:
        """Type, digest and labels of an input port."""
        found = self.request.inputs.get(port)
        if found is None:
            raise BadInput(port, f"input {port} was not given")
        return found

    def one_file(self, port: str, pattern: str, hint: str = "") -> Path:
        """The only file of an input that matches a glob; :class:`BadInput` when there is none, or a choice."""
        root = self.input(port)
        found = sorted(p for p in root.glob(pattern) if p.is_file())
        if len(found) != 1:
            have = ", ".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")) if p.is_file()) or "nothing"
            raise BadInput(port, f"{len(found)} files match {pattern!r}; one must. The input holds: {have}", hint)
        return found[0]

    def wants(self, port: str) -> bool:
        """Whether the request names an output port; optional ones may be left empty all the same."""
        return port in self.request.outputs

    def output(self, port: str) -> Path:
        """The folder of an output port, made if it is not there."""
        if port not in self.request.outputs:
            raise BadInput("", f"the request has no output {port}; stage.hcl and worker.py disagree")
        path = self.workspace / "out" / port
        path.mkdir(parents=True, exist_ok=True)
        return path

    def reuse(self, output: str, path: str, port: str, source: str) -> None:
        """Say that an output's file is one of an input: nothing is copied, written or hashed.

        `path` lies below the output and `source` below the input, relative, with slashes; `port` is an input port, or
        `port[key]`. The file is not in `out/` then: whoever is given the output later finds it there.
        :class:`BadInput` where the input has no such file.
        """
        place = self.output(output) / path
        if not inside(path) or not inside(source):
            raise ValueError(f"{path!r} and {source!r} must be paths below their folders")
        if not (self.input(port) / source).is_file():
            raise BadInput(port, f"it has no {source}")
        if place.exists() or f"{output}/{path}" in self.result.reused:
            raise ValueError(f"{output}/{path} is there already")
        self.result.reused[f"{output}/{path}"] = f"{port}/{source}"

    # What is said.

    def progress(self, done: float, total: float = 0, unit: str = "", what: str = "") -> None:
        """Tell how much is really done, in `unit`s; total 0 when it is not known.

        Call it as often as there is something new: at most ten a second are written, and always the first and the last
        of a `what`.
        """
        now = time.monotonic()
        if what == self._told[0] and done < (total or math.inf) and now - self._told[1] < INTERVAL:
            return
        self._told = (what, now)
        self._events.write("progress", done=done, total=total, unit=unit, what=what)

    def log(self, message: str, level: str = "info") -> None:
        """Tell the person something; level is info or warning."""
        self._events.write("log", message=message, level=level)

    def metric(self, name: str, value: float) -> None:
        """Keep a metric for the record and show it now. :class:`BadMetric` for NaN and infinities."""
        try:
            kept = check(value, float, f"metric {name}")
            event.metric_name(name, "the metric's name")
        except Malformed as e:
            raise BadMetric(str(e)) from e
        if not math.isfinite(kept):
            raise BadMetric(f"metric {name} is {number(kept)}: the stage's numbers are broken")
        self.result.metrics[name] = int(kept) if kept.is_integer() and abs(kept) < 2**53 else kept
        self._events.write("metric", name=name, value=kept)

    def label(self, name: str, value: str) -> None:
        """Put a label on every output."""
        self.result.labels[name] = value

    def observe(self, name: str, value: str) -> None:
        """Keep a fact about this run in the record; it never enters a key."""
        self.result.observed[name] = value

    def resolve(self, name: str, value: str) -> None:
        """Keep in the lock what a source resolved to."""
        self.result.resolved[name] = value

    # What outlives a crash.

    def checkpoint(self, name: str, paths: Iterable[Path]) -> None:
        """Keep a finished piece for the next attempt; whole or not at all. Does nothing where none is kept.

        A piece of the same name is replaced. `paths` are files, each with a name of its own.
        """
        final = self._piece(name)
        if final is None:
            return
        # Names with a dot are not handed on.
        part, old = final.with_name(f".{name}.part"), final.with_name(f".{name}.old")
        for half in (part, old):
            shutil.rmtree(half, ignore_errors=True)
        part.mkdir(parents=True)
        for path in paths:
            if (part / path.name).exists():
                raise ValueError(f"two files are called {path.name} in the checkpoint {name}")
            shutil.copyfile(path, part / path.name)
            _sync(part / path.name)
        _sync(part)
        if final.exists():
            final.replace(old)  # in one step: a piece that is being removed must not pass for one
        part.replace(final)
        _sync(final.parent)
        shutil.rmtree(old, ignore_errors=True)

    def restored(self, name: str) -> Path | None:
        """The folder of a piece that an earlier attempt kept, or None. What is used is told in the record."""
        path = self._piece(name)
        if path is None or not path.is_dir():
            return None
        used = list(filter(None, self.result.observed.get("restored", "").split(",")))
        if name not in used:
            self.result.observed["restored"] = ",".join([*used, name])
        return path

    def _piece(self, name: str) -> Path | None:
        if not inside(name) or "/" in name or name.startswith("."):
            raise ValueError(f"a checkpoint's name must be a plain file name without a dot before it, not {name!r}")
        return Path(self.request.checkpoint) / name if self.request.checkpoint else None


def _sync(path: Path) -> None:
    """Put a file's bytes, or a folder's names, on stable storage."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
