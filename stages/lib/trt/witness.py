"""A process that runs an engine and looks at it: python -m lib.trt.witness ENGINE FOUND

It makes itself ready, and waits on stdin for its tasks, as JSON, or for the end of that: then none was asked. It writes
what it does and what it finds into the file FOUND, a line of JSON each and the time of day beside it, so that whoever
started it knows what it was at when it crashed, and what took how long.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import torch

from lib.llm.contract import read_contract
from lib.trt.engine import EngineDecoder
from lib.trt.library import load
from lib.trt.plan import Plan
from lib.trt.timed import Trial

STEPS = 64  # of the step that is timed
Write = Callable[[dict[str, Any]], None]


def main(folder: Path, found: Path, asked: TextIO) -> int:
    with suppress(Exception):  # loading the engine meets it again, and tells
        ready()
    if not (text := asked.read()):
        return 0
    tasks = [(kind, number) for kind, number in json.loads(text)]
    with found.open("a", encoding="utf-8") as file:

        def write(line: dict[str, Any]) -> None:
            file.write(json.dumps(line | {"at": time.time()}) + "\n")
            file.flush()

        try:
            write({"begin": ["load", 0]})
            plan = Plan(folder)
            write({"found": plan.dtype()})
            testify(folder, plan, tasks, write)
        except Exception as e:  # behind some of them the device cannot be used any more by this process
            write({"failed": (str(e).strip() or type(e).__name__).splitlines()[0], "type": type(e).__name__})
            raise
    return 0


def ready() -> None:
    """What takes some seconds and needs no engine: the library, and the device's first use by this process."""
    load()
    torch.zeros(1, device="cuda")


def testify(folder: Path, plan: Plan, tasks: Iterable[tuple[str, int]], write: Write) -> None:
    """Do the tasks, each a kind and a profile's number: its objects are gone before what it found is written."""
    for kind, number in tasks:
        write({"begin": [kind, number]})
        write({"found": KINDS[kind](folder, plan, number)})


def step_seconds(folder: Path, plan: Plan, number: int) -> float:
    """As a decoder's users run it: median of the steps behind a prompt that fills half of the cache."""
    decoder = EngineDecoder(folder, plan)
    batch, length = plan.profiles[number].batch[1], plan.profiles[number].length[0]
    prompt = torch.zeros(batch, length // 2, dtype=torch.int64)
    decoder.open(batch, length)
    made = decoder.generate(prompt, min(STEPS + 1, length - length // 2), torch.tensor([], dtype=torch.int64))
    return median(made.step_seconds)


def run(folder: Path, plan: Plan, number: int) -> bool:
    Trial(plan, read_contract(folder), number).run()
    return True


def times(folder: Path, plan: Plan, number: int) -> dict[str, float]:
    return Trial(plan, read_contract(folder), number).times()


def said(_folder: Path, plan: Plan, _number: int) -> str:
    """The inspector's JSON of the engine, the layers of all profiles in it. Asked about a context of one of several
    profiles it says nothing.
    """
    return plan.engine.create_engine_inspector().get_engine_information(plan.trt.LayerInformationFormat.JSON)


KINDS: dict[str, Callable[[Path, Plan, int], Any]] = {"step": step_seconds, "run": run, "times": times, "said": said}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdin))
