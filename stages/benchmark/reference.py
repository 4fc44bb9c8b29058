"""The same files computed by the runner that perplexity uses, in a process of its own.

Of its own, so that neither its memory nor its libraries are counted as the engine's.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from multiprocessing.connection import Connection

from benchmark.asked import Asked, Model
from benchmark.prompt import make_prompt
from lib.speed.agreement import Reference
from tinfra_worker import Fault, Job, Resources
from tinfra_worker.fault import shortage


def compute(job: Job, asked: Asked, model: Model) -> Reference:
    """Fork, and wait for the answer. Call it before any library with threads is imported."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(job, asked, model, theirs))
    child.start()
    theirs.close()
    try:
        answer = ours.recv()
        child.join()
    except EOFError as e:
        child.join()
        raise Resources(
            f"the reference run ended by signal or exit code {child.exitcode}",
            "if the machine was out of memory, give the stage more",
        ) from e
    finally:
        child.kill()
        child.join()
    if isinstance(answer, Reference):
        return answer
    kind, fields = answer
    fault = kind.__new__(kind)
    fault.__dict__.update(fields)
    raise fault


def _answer(job: Job, asked: Asked, model: Model, to: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        from lib.llm.runner import open_runner

        runner = open_runner(job, "model", model.dtype)
        logits, _ = runner.forward(make_prompt(job, asked, model))
        to.send(Reference(runner.engine, logits[:, -1].copy()))
    except Exception as e:
        traceback.print_exc()
        fault = e if isinstance(e, Fault) else shortage(e) or Fault(f"the reference run: {type(e).__name__}: {e}")
        to.send((type(fault), fault.__dict__))
