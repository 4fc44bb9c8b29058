"""What a contest is asked for, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.speed.subject import Subject
from tinfra_worker import BadInput, BadParam, Job

BACKENDS = {  # that run each form of a model
    "checkpoint": ("generate", "generate_static", "steady", "humming"),
    "engine": ("tensorrt",),
}
DTYPES = ("float32", "float16", "bfloat16")
REFERENCE = "generate"  # what the other backends of a checkpoint are held against


@dataclass(frozen=True)
class Entry:
    """One that takes part: a model, by its key among the inputs, and what runs it in which type; at which batches."""

    name: str
    model: str
    backend: str
    dtype: str
    batches: tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """The params by their names in stage.hcl; `batches` rise."""

    entries: tuple[Entry, ...]
    batches: tuple[int, ...]
    prompt: int
    tokens: int
    warmup: int
    repeats: int
    seed: int
    saturation: int
    tolerance: float
    limit_seconds: float

    @property
    def length(self) -> int:
        """Tokens of each row at the end."""
        return self.prompt + self.tokens


def keys(job: Job, port: str) -> list[str]:
    """The keys of a map of inputs."""
    inside = (name[len(port) + 1 : -1] for name in job.request.inputs if name.startswith(f"{port}["))
    return sorted(inside)


def read_params(job: Job, subjects: dict[str, Subject]) -> Asked:
    """The params; `subjects` are the models by their keys. :class:`BadParam` where they do not go together."""
    batches = sorted({_whole("batches", b) for b in job.param("batches", list)})
    if not batches:
        raise BadParam("batches", "no batch size is given: nothing would be measured")
    only = job.param("only", dict)
    given = job.param("entries", list)
    if unknown := sorted(only.keys() - {e["name"] for e in given}):
        raise BadParam("only", f"{', '.join(unknown)} is no entry")
    entries = [_entry(e, only.get(e["name"], batches), batches, subjects) for e in given]
    names = [e.name for e in entries]
    if not names:
        raise BadParam("entries", "nobody takes part")
    if double := {n for n in names if names.count(n) > 1}:
        raise BadParam("entries", f"{', '.join(sorted(double))} is there twice")
    if idle := sorted(subjects.keys() - {e.model for e in entries}):
        raise BadInput("models", f"no entry runs {', '.join(idle)}", "leave it out, or add an entry")
    numbers = {n: job.param(n, int) for n in ("prompt", "tokens", "warmup", "repeats", "seed", "saturation")}
    limits = {n: job.param(n, float) for n in ("tolerance", "limit_seconds")}
    asked = Asked(tuple(entries), tuple(batches), **numbers, **limits)
    for entry in entries:
        if 0 < (most := subjects[entry.model].context) < asked.length:
            raise BadParam("prompt", f"{asked.length} tokens are more than the context of {entry.model}, {most}")
    return asked


def _entry(said: dict[str, Any], only: list[Any], batches: list[int], subjects: dict[str, Subject]) -> Entry:
    name, model, backend, dtype = (str(said[k]) for k in ("name", "model", "backend", "dtype"))
    subject = subjects.get(model)
    if subject is None:
        raise BadParam("entries", f"{name} is of the model {model}, and models has {', '.join(sorted(subjects))}")
    fit = BACKENDS.get(subject.form, ())
    if backend not in fit:
        raise BadParam("entries", f"{name}: {backend} does not run this {subject.form}; {' or '.join(fit)} does")
    if subject.dtype and dtype not in ("auto", subject.dtype):
        raise BadParam("entries", f"{name}: the {subject.form} computes in {subject.dtype}, not in {dtype}")
    if not subject.dtype and dtype not in DTYPES:
        raise BadParam("entries", f"{name}: dtype is one of {', '.join(DTYPES)}, not {dtype}")
    among = tuple(sorted({_whole("only", b) for b in only}))
    if not among or not set(among) <= set(batches):
        raise BadParam("only", f"{name} takes part at {list(among)}, and batches are {batches}")
    return Entry(name, model, backend, subject.dtype or dtype, among)


def _whole(param: str, value: Any) -> int:
    if not isinstance(value, (int, float)) or value != int(value) or not 1 <= value <= 4096:
        raise BadParam(param, f"a batch size is a whole number from 1 to 4096, not {value}")
    return int(value)
