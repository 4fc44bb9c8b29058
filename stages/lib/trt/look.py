"""Look at an engine from another process, so that a crash costs what was looked for and not the engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tinfra_worker import Fault, Resources

Task = tuple[str, int]  # load, step, run, times or said; and a profile's number, 0 of load and said
NEEDED = ("load", "step", "run")  # where these fail the engine must not be served
SAYS = {
    "load": "cannot be loaded",
    "step": "fails at decoding with the profile",
    "run": "fails at a plain pass of the profile",
    "times": "the times of its layers are not known, of the profile",
    "said": "TensorRT's inspector fails",
}
WITNESS = (sys.executable, "-X", "faulthandler", "-P", "-s", "-m", "lib.trt.witness")


@dataclass
class Looked:
    """`found` by task. `missed` says of a task why nothing was found; it holds none that is needed. `seconds` went into
    starting the processes, into each kind of task, and into the processes' end.
    """

    dtype: str = ""
    seconds: Counter[str] = field(default_factory=Counter)
    found: dict[Task, Any] = field(default_factory=dict)
    missed: dict[Task, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Told:
    """What one witness told: `at` is the task that it did not end, `why` its own words, `type` its exception's. `marks`
    are the kinds of its tasks and when each began, in seconds of the day's clock; end stands behind each task.
    """

    marks: list[tuple[str, float]]
    found: dict[Task, Any]
    at: Task | None
    why: str
    type: str


def tasks(profiles: int, inspect: bool = True) -> list[Task]:
    """First all that must be sound, as a crash of what comes behind says nothing about that."""
    asked = [("step", 0), *((kind, n) for kind in ("run", "times") for n in range(profiles))]
    return [*asked, ("said", 0)] if inspect else asked


class Looking:
    """Processes that run an engine and look at it. The first begins at once and makes itself ready, before there is an
    engine; it ends with the block.
    """

    def __init__(self, engine: Path, work: Path, command: Sequence[str] = WITNESS) -> None:
        """`work` is a folder for files of its own."""
        self._command = (*command, str(engine))
        self._work = work
        self._witness = self._begin(0)

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *_: object) -> None:
        self._witness.kill()
        self._witness.communicate()

    def look(self, profiles: Sequence[object], inspect: bool = True) -> Looked:
        """Run the engine and look at it, in a process that is begun anew behind each crash. Once in a block.

        :class:`Fault` when it cannot be loaded or run, :class:`Resources` when memory was not enough for that.
        `profiles` are named in messages; without `inspect` TensorRT's inspector is not asked.
        """
        looked, left = Looked(), tasks(len(profiles), inspect)
        while left:
            if looked.missed:
                self._witness = self._begin(len(looked.missed))
            started = time.time()
            self._witness.communicate(json.dumps(left))
            told = _read(self._path(len(looked.missed)))
            looked.dtype = told.found.pop(("load", 0), looked.dtype)
            looked.found |= told.found
            looked.seconds.update(_spent([("start", started), *told.marks], time.time()))
            left = [task for task in left if task not in told.found]
            if self._witness.returncode == 0 and not left:
                return looked
            why = told.why or _ending(self._witness.returncode)
            at = told.at or ("load", 0)
            if not left:
                at = ("end", 0)  # it crashed when all was found, and what it held was let go
            elif at[0] in NEEDED:
                raise _unsound(at, why, told.type, profiles)
            looked.missed[at] = why
            left = [task for task in left if task != at]
        return looked

    def _begin(self, number: int) -> subprocess.Popen[str]:
        path = self._path(number)
        path.touch()
        return subprocess.Popen([*self._command, str(path)], stdin=subprocess.PIPE, stdout=sys.stderr, text=True)

    def _path(self, number: int) -> Path:
        return self._work / f"witness{number}.jsonl"


def say(task: Task, why: str, profiles: Sequence[object]) -> str:
    """One line about a task that was missed."""
    kind, number = task
    if kind == "end":
        return f"the process that looked at the engine failed at its end: {why}"
    return f"{SAYS[kind]}{'' if kind == 'said' else f' {profiles[number]}'}: {why}"


def _unsound(at: Task, why: str, kind: str, profiles: Sequence[object]) -> Fault:
    named = "" if at[0] == "load" else f" {profiles[at[1]]}"
    if "OutOfMemory" in kind or kind == "MemoryError":
        return Resources(f"out of memory when the engine is run: {why}", "build for smaller batches or fewer tokens")
    return Fault(
        f"the engine that was built {SAYS[at[0]]}{named}: {why}",
        "it is not kept: build again, with other profiles or another optimization where that does not help",
    )


def _spent(marks: Iterable[tuple[str, float]], ended: float) -> Counter[str]:
    """Seconds by kind of task, each from its mark to the next."""
    spent: Counter[str] = Counter()
    for (kind, at), (_, then) in pairwise([*marks, ("", ended)]):
        spent[kind] += then - at
    return spent


def _read(path: Path) -> _Told:
    marks: list[tuple[str, float]] = []
    found: dict[Task, Any] = {}
    at: Task | None = None
    why = kind = ""
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:  # what ends without one was torn by a crash
        said = json.loads(line)
        if "begin" in said:
            at = (said["begin"][0], said["begin"][1])
            marks.append((at[0], said["at"]))
        elif "found" in said and at is not None:
            found[at] = said["found"]
            marks.append(("end", said["at"]))
            at = None
        elif "failed" in said:
            why, kind = said["failed"], said["type"]
    return _Told(marks, found, at, why, kind)


def _ending(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with {code}"
