"""Look at an engine from another process, so that a crash costs what was looked for and not the engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinfra_worker import Fault, Resources

Task = tuple[str, int]  # load, step, run, times or said; and a profile's number
NEEDED = ("load", "step", "run")  # where these fail the engine must not be served
SAYS = {
    "load": "cannot be loaded",
    "step": "fails at decoding with the profile",
    "run": "fails at a plain pass of the profile",
    "times": "the times of its layers are not known, of the profile",
    "said": "TensorRT's inspector fails at the profile",
}
WITNESS = (sys.executable, "-X", "faulthandler", "-P", "-s", "-m", "lib.trt.witness")


@dataclass
class Looked:
    """`found` by task. `missed` says of a task why nothing was found; it holds none that is needed."""

    dtype: str = ""
    found: dict[Task, Any] = field(default_factory=dict)
    missed: dict[Task, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Told:
    """What one witness told: `at` is the task that it did not end, `why` its own words, `type` its exception's."""

    found: dict[Task, Any]
    at: Task | None
    why: str
    type: str


def tasks(profiles: int) -> list[Task]:
    """First all that must be sound, as a crash of what comes behind says nothing about that."""
    return [("step", 0), *((kind, n) for kind in ("run", "times", "said") for n in range(profiles))]


def look(engine: Path, work: Path, profiles: Sequence[object], command: Sequence[str] = WITNESS) -> Looked:
    """Run the engine and look at it, in a process that is begun anew behind each crash.

    :class:`Fault` when it cannot be loaded or run, :class:`Resources` when memory was not enough for that. `work` is a
    folder for files of its own, `profiles` are named in messages.
    """
    looked, left = Looked(), tasks(len(profiles))
    while left:
        path = work / f"witness{len(looked.missed)}.jsonl"
        path.touch()
        done = subprocess.run([*command, str(engine), str(path), json.dumps(left)], stdout=sys.stderr, check=False)
        told = _read(path)
        looked.dtype = told.found.pop(("load", 0), looked.dtype)
        looked.found |= told.found
        left = [task for task in left if task not in told.found]
        if done.returncode == 0 and not left:
            return looked
        why = told.why or _ending(done.returncode)
        at = told.at or ("load", 0)
        if not left:
            at = ("end", 0)  # it crashed when all was found, and what it held was let go
        elif at[0] in NEEDED:
            raise _unsound(at, why, told.type, profiles)
        looked.missed[at] = why
        left = [task for task in left if task != at]
    return looked


def say(task: Task, why: str, profiles: Sequence[object]) -> str:
    """One line about a task that was missed."""
    kind, number = task
    if kind == "end":
        return f"the process that looked at the engine failed at its end: {why}"
    return f"{SAYS[kind]} {profiles[number]}: {why}"


def _unsound(at: Task, why: str, kind: str, profiles: Sequence[object]) -> Fault:
    named = "" if at[0] == "load" else f" {profiles[at[1]]}"
    if "OutOfMemory" in kind or kind == "MemoryError":
        return Resources(f"out of memory when the engine is run: {why}", "build for smaller batches or fewer tokens")
    return Fault(
        f"the engine that was built {SAYS[at[0]]}{named}: {why}",
        "it is not kept: build again, with other profiles or another optimization where that does not help",
    )


def _read(path: Path) -> _Told:
    found: dict[Task, Any] = {}
    at: Task | None = None
    why = kind = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if "begin" in said:
            at = (said["begin"][0], said["begin"][1])
        elif "found" in said and at is not None:
            found[at] = said["found"]
            at = None
        elif "failed" in said:
            why, kind = said["failed"], said["type"]
    return _Told(found, at, why, kind)


def _ending(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with {code}"
