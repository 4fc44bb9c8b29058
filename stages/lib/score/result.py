"""The folder result/perplexity: written by `perplexity`, read by what compares two of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.score.protocol import canonical
from tinfra_worker import BadInput, Job

if TYPE_CHECKING:
    import numpy as np

_SCORES = {"nll": "float32", "position": "int64", "top": "int32"}


@dataclass
class Scores:
    """Each scored token: its negative log likelihood in nats, its place in the text, and the token held likeliest.

    nll float32, position int64, top int32, all [scored]. Of the tokens at `kept`, int64 [kept], `logprobs`, float16
    [kept, vocabulary], is the whole distribution as natural logarithms.
    """

    nll: np.ndarray
    position: np.ndarray
    top: np.ndarray
    kept: np.ndarray
    logprobs: np.ndarray


@dataclass
class Result:
    """Scores, what was asked (:mod:`lib.score.protocol`), and of which model by which engine."""

    scores: Scores
    protocol: dict[str, Any]
    measured: dict[str, Any]


def write_result(folder: Path, result: Result) -> None:
    """No time and no host: the same scores are the same bytes."""
    from safetensors.numpy import save_file

    found = result.scores
    save_file({"nll": found.nll, "position": found.position, "top": found.top}, folder / "nll.safetensors")
    if len(found.kept):
        save_file({"logprobs": found.logprobs, "position": found.kept}, folder / "distributions.safetensors")
    (folder / "protocol.json").write_text(canonical(result.protocol), encoding="utf-8")
    (folder / "measured.json").write_text(canonical(result.measured), encoding="utf-8")


def read_result(job: Job, port: str) -> Result:
    """A result of an input port with its distributions; :class:`BadInput` says what is wrong with it."""
    import numpy as np

    folder = job.input(port)
    protocol, measured = _json(folder, port, "protocol.json"), _json(folder, port, "measured.json")
    window = protocol.get("window")
    if not isinstance(window, int) or window < 1:
        raise BadInput(port, "protocol.json of the result names no window")
    if not (folder / "distributions.safetensors").exists():
        raise BadInput(
            port, "the result holds no distributions", "set distributions above 0 in the perplexity stage that made it"
        )
    tokens, whole = _tensors(folder, port, "nll.safetensors"), _tensors(folder, port, "distributions.safetensors")
    shape = (len(tokens["nll"]),) if "nll" in tokens else ()
    for name, dtype in _SCORES.items():
        if name not in tokens or tokens[name].dtype != dtype or tokens[name].shape != shape:
            raise BadInput(port, f"nll.safetensors must hold {name}, {dtype} [scored]")
    kept, logprobs = whole.get("position"), whole.get("logprobs")
    if kept is None or logprobs is None or logprobs.dtype != np.float16 or logprobs.shape[:-1] != kept.shape:
        raise BadInput(
            port, "distributions.safetensors must hold position, [kept], and logprobs, float16 [kept, vocabulary]"
        )
    if not len(kept) or not np.isin(kept, tokens["position"]).all():
        raise BadInput(port, "distributions.safetensors has distributions of tokens that were not scored")
    return Result(Scores(**tokens, kept=kept, logprobs=logprobs), protocol, measured)


def _json(folder: Path, port: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(
            port, f"{name} of the result cannot be read: {e}", "it must come from the kind perplexity"
        ) from e
    if not isinstance(found, dict):
        raise BadInput(port, f"{name} of the result is no object")
    return found


def _tensors(folder: Path, port: str, name: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(folder / name)
    except (SafetensorError, OSError) as e:
        raise BadInput(port, f"{name} is damaged: {e}") from e
