"""What a benchmark is asked for, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from lib.speed.subject import Subject, read_subject
from tinfra_worker import BadParam, Job

BACKENDS = {  # of each form of a model, the one of `auto` first
    "checkpoint": ("generate", "generate_static", "steady", "humming"),
    "graph": ("genai",),
    "engine": ("tensorrt",),
}


@dataclass(frozen=True)
class Asked:
    """The params by their names in stage.hcl."""

    batch: int
    prompt: int
    tokens: int
    warmup: int
    repeats: int
    seed: int
    threads: int
    device: str
    dtype: str
    backend: str


@dataclass(frozen=True)
class Model:
    """What is benchmarked: by which `backend`, computing in `dtype`; `approximate`: its numbers depend on the kernel by
    more than the last bits, as those of reduced precision do.
    """

    subject: Subject
    backend: str
    dtype: str
    approximate: bool


def read_params(job: Job) -> Asked:
    """The params, :class:`BadParam` where what was granted is not what they say.

    Threads and device decide a figure and so are params; needs alone would be in no key.
    """
    numbers = {n: job.param(n, int) for n in ("batch", "prompt", "tokens", "warmup", "repeats", "seed", "threads")}
    asked = Asked(**numbers, **{n: job.param(n, str) for n in ("device", "dtype", "backend")})
    if asked.threads > job.cpus:
        raise BadParam(
            "threads",
            f"{asked.threads} threads are asked for, and {job.cpus} of the machine's CPUs were granted",
            f"set threads = {job.cpus}, or needs {{ cpus = {asked.threads} }} on a machine that has them",
        )
    if asked.device == "gpu" and not job.request.gpus:
        raise BadParam("device", "no GPU was granted", "add needs { gpus = 1 }")
    if asked.device == "cpu" and job.request.gpus:
        raise BadParam("device", "a GPU was granted and device is cpu", 'set device = "gpu", or leave out needs.gpus')
    return asked


def read_model(job: Job, asked: Asked) -> Model:
    """The model's folder: which engine it is for, and whether backend, device, type, prompt and tokens fit."""
    subject = read_subject(job, "model")
    backend = _backend(subject, asked)
    if subject.form == "graph" and asked.device == "gpu":
        raise BadParam("device", "onnxruntime-genai of this environment runs on the CPU only", 'set device = "cpu"')
    if subject.form == "engine" and asked.device == "cpu":
        raise BadParam("device", "an engine runs on a GPU only", 'set device = "gpu" and needs { gpus = 1 }')
    if subject.form != "checkpoint" and asked.dtype not in ("float32", subject.dtype):
        raise BadParam("dtype", f"an {subject.form} holds its own types", "leave out dtype")
    if subject.context and asked.prompt + asked.tokens > subject.context:
        raise BadParam(
            "prompt",
            f"{asked.prompt} + {asked.tokens} tokens are more than the model's context, {subject.context} positions",
        )
    dtype = subject.dtype or asked.dtype
    return Model(subject, backend, dtype, subject.quantized or dtype != "float32")


def _backend(subject: Subject, asked: Asked) -> str:
    fit = BACKENDS[subject.form]
    if asked.backend == "auto":
        return fit[0]
    if asked.backend not in fit:
        raise BadParam("backend", f"{asked.backend} does not run this {subject.form}; {' or '.join(fit)} does")
    return asked.backend
