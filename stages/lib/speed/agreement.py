"""Whether an engine computes what another one does, by the logits after a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.speed.samples import Run
from tinfra_worker import BadInput

if TYPE_CHECKING:
    import numpy as np

TOP = 5  # ranks
NEAR = 1e-3  # of a row's range of logits


@dataclass(frozen=True)
class Reference:
    """Logits after each prompt, float32 [batch, vocabulary], and what computed them."""

    engine: str
    logits: np.ndarray


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
        check_finite(found, who)
    check_choice(reference.logits, logits.argmax(1), approximate, reference.engine)
    difference = np.abs(logits.astype(np.float64) - reference.logits)
    if not approximate and (difference.max(1) > NEAR * np.ptp(reference.logits, 1)).any():
        raise BadInput(
            "model",
            f"the engine computes something else than {reference.engine}: logits differ by {difference.max():.3g} of "
            f"{np.ptp(reference.logits):.3g}; nothing was measured",
        )
    return {"max_difference": float(difference.max()), "mean_difference": float(difference.mean())}


def check_finite(logits: np.ndarray, by: str) -> None:
    """:class:`BadInput` where a logit is no number."""
    import numpy as np

    if not np.isfinite(logits).all():
        raise BadInput("model", f"{by} gives logits that are not finite: the model is broken")


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


@dataclass(frozen=True)
class Expected:
    """What every run of an engine must be: `tokens` tokens after each prompt, none of `ends`, which end a text, and the
    first ones as the engine's own logits, float32 [batch, vocabulary], say.
    """

    logits: np.ndarray
    ends: frozenset[int]
    tokens: int
    approximate: bool

    def check(self, made: Run, by: str) -> None:
        import numpy as np

        batch, vocabulary = self.logits.shape
        steps, widths = len(made.tokens), {len(row) for row in made.tokens}
        if steps != self.tokens or widths != {batch} or len(made.steps) != steps - 1:
            raise RuntimeError(f"{by} made {steps} steps of {widths}, not {self.tokens} of {batch}")
        if chosen := self.ends.intersection(t for row in made.tokens for t in row):
            raise RuntimeError(f"{by} chose {sorted(chosen)}, which end a text and were barred")
        allowed = self.logits.copy()
        allowed[:, [t for t in self.ends if t < vocabulary]] = self.logits.min()
        check_choice(allowed, np.asarray(made.tokens[0]), self.approximate, "its own first logits")
