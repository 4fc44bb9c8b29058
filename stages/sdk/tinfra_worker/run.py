"""A worker process from its request to its exit code."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from . import event, request, result
from .fault import BAD_INPUT, CANCELLED, CRASH, BadInput, BadParam, Cancelled, Fault, shortage
from .job import Job
from .strictjson import Malformed

# What BLAS, OpenMP and the tokenizers' thread pool read when first loaded: as many threads as cores were granted.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")


def run(main: Callable[[Job], None]) -> NoReturn:
    """Run a worker in the workspace of this process, and exit as the protocol says. Import numerics inside `main`."""
    workspace = Path(os.environ.get("TINFRA_WORKSPACE") or Path.cwd()).resolve()
    events = event.Writer(workspace / "events.jsonl")
    try:
        signal.signal(signal.SIGTERM, _on_sigterm)
        code = _attempt(main, workspace, events)
    except Cancelled:
        code = CANCELLED
    if code == CANCELLED:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(workspace / "tmp", ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        # Threads of a library that are still at work must not hold up a process that has failed.
        os._exit(code)
    sys.exit(0)


def _on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    raise Cancelled


def _attempt(main: Callable[[Job], None], workspace: Path, events: event.Writer) -> int:
    try:
        asked = request.decode((workspace / "request.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Malformed) as e:
        events.write("problem", message=f"request.json: {e}")
        return BAD_INPUT
    for name in _THREADS:
        os.environ[name] = str(asked.cpus)
    # OpenMP threads that wait spin by default. Where stages share cores they take them from each other: GPTQ of a small
    # model took 195 s on two busy cores so, and 55 s with threads that sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    job = Job(workspace, asked, events)
    try:
        main(job)
        result.write(workspace / "result.json", job.result)
    except Exception as e:
        return _failed(e, events)
    return 0


def _failed(error: Exception, events: event.Writer) -> int:
    fault = error if isinstance(error, Fault) else shortage(error)
    if fault is None:
        traceback.print_exception(error)
        events.write("problem", message=f"{type(error).__name__}: {error}")
        return CRASH
    if not isinstance(error, Fault):
        traceback.print_exception(error)
    where = {}
    if isinstance(fault, BadParam):
        where["param"] = fault.param
    if isinstance(fault, BadInput):
        where["input"] = fault.port
    events.write("problem", message=fault.message, hint=fault.hint, **where)
    return fault.code
