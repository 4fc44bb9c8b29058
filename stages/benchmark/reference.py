"""The same files computed by the runner that perplexity uses, in a process of its own.

Of its own, so that neither its memory nor its libraries are counted as the engine's.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from benchmark.asked import Asked, Model
from benchmark.prompt import make_prompt
from tinfra_worker import BadInput, Fault, Job, Resources
from tinfra_worker.fault import shortage

if TYPE_CHECKING:
    import numpy as np

TOP = 5  # ranks
NEAR = 1e-3  # of a row's range of logits


@dataclass(frozen=True)
class Reference:
    """Logits after each prompt, float32 [batch, vocabulary], and what computed them."""

    engine: str
    logits: np.ndarray


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

        runner = open_runner(job, "model", asked.dtype)
        logits, _ = runner.forward(make_prompt(job, asked, model))
        to.send(Reference(runner.engine, logits[:, -1].copy()))
    except Exception as e:
        traceback.print_exc()
        fault = e if isinstance(e, Fault) else shortage(e) or Fault(f"the reference run: {type(e).__name__}: {e}")
        to.send((type(fault), fault.__dict__))


def compare(reference: Reference, logits: np.ndarray, approximate: bool) -> dict[str, float]:
    """Hold an engine's first logits against the reference's; :class:`BadInput` when they are another model's.

    In float32 every logit must be within NEAR of the reference's, and that of the engine's choice within NEAR of its
    greatest. Where numbers depend on the kernel, the choice must be among the TOP. Greatest and mean difference are
    returned.
    """
    import numpy as np

    if logits.shape != reference.logits.shape:
        raise BadInput("model", f"the engine gives logits {logits.shape}, {reference.engine} {reference.logits.shape}")
    for who, found in (("the engine", logits), (reference.engine, reference.logits)):
        if not np.isfinite(found).all():
            raise BadInput("model", f"{who} gives logits that are not finite: the model is broken")
    check_choice(reference.logits, logits.argmax(1), approximate, reference.engine)
    difference = np.abs(logits.astype(np.float64) - reference.logits)
    if not approximate and (difference.max(1) > NEAR * np.ptp(reference.logits, 1)).any():
        raise BadInput(
            "model",
            f"the engine computes something else than {reference.engine}: logits differ by {difference.max():.3g} of "
            f"{np.ptp(reference.logits):.3g}; nothing was measured",
        )
    return {"max_difference": float(difference.max()), "mean_difference": float(difference.mean())}


def check_choice(logits: np.ndarray, chosen: np.ndarray, approximate: bool, by: str) -> None:
    """:class:`BadInput` unless greedy search over `logits` [batch, vocabulary] could have chosen `chosen` [batch]."""
    import numpy as np

    rows = np.arange(len(logits))
    own = logits[rows, chosen]
    if approximate:
        right = (logits > own[:, None]).sum(1) < TOP
        rule = f"among its {TOP} likeliest"
    else:
        right = logits.max(1) - own <= NEAR * (logits.max(1) - logits.min(1))
        rule = "its likeliest"
    if not right.all():
        row = int(np.flatnonzero(~right)[0])
        raise BadInput(
            "model",
            f"the engine computes something else than {by}: after prompt {row} it chose token {int(chosen[row])}, "
            f"which is not {rule} ({int(logits[row].argmax())} is); nothing was measured",
        )
