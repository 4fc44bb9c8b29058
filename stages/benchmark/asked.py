"""What a benchmark is asked for, checked before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinfra_worker import BadInput, BadParam, Job

GRAPH = "model.onnx"


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


@dataclass(frozen=True)
class Model:
    """What is benchmarked. `vocabulary` in tokens, `context` in positions (0: not stated); `approximate`: its numbers
    depend on the kernel by more than the last bits, as those of reduced precision do.
    """

    folder: Path
    graph: bool
    vocabulary: int
    context: int
    approximate: bool


def read_params(job: Job) -> Asked:
    """The params, :class:`BadParam` where what was granted is not what they say.

    Threads and device decide a figure and so are params; needs alone would be in no key.
    """
    numbers = {n: job.param(n, int) for n in ("batch", "prompt", "tokens", "warmup", "repeats", "seed", "threads")}
    asked = Asked(**numbers, device=job.param("device", str), dtype=job.param("dtype", str))
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
    """The model's folder: which engine it is for, and whether prompt and tokens fit."""
    folder = job.input("model")
    graph = (folder / GRAPH).is_file()
    if graph and asked.device == "gpu":
        raise BadParam("device", "onnxruntime-genai of this environment runs on the CPU only", 'set device = "cpu"')
    if graph and asked.dtype != "float32":
        raise BadParam("dtype", "a graph holds its own types", "leave out dtype")
    name = "genai_config.json" if graph else "config.json"
    config = read_object(job, "model", name)
    if graph:
        config = config["model"] if isinstance(config.get("model"), dict) else {}
    vocabulary, context = (
        config.get("vocab_size"),
        config.get("context_length" if graph else "max_position_embeddings", 0),
    )
    if not isinstance(vocabulary, int) or vocabulary < 1 or not isinstance(context, int):
        raise BadInput("model", f"{name} of the model states no vocab_size")
    if context and asked.prompt + asked.tokens > context:
        raise BadParam(
            "prompt", f"{asked.prompt} + {asked.tokens} tokens are more than the model's context, {context} positions"
        )
    if graph:
        approximate = b"MatMulNBits" in (folder / GRAPH).read_bytes()
    else:
        approximate = asked.dtype != "float32" or bool(config.get("quantization_config"))
    return Model(folder, graph, vocabulary, context, approximate)


def read_object(job: Job, port: str, name: str) -> dict[str, Any]:
    """A JSON object of an input; :class:`BadInput` when it is not there or no object."""
    try:
        found = json.loads((job.input(port) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(port, f"{name} of input {port} cannot be read: {e}") from e
    if not isinstance(found, dict):
        raise BadInput(port, f"{name} of input {port} holds no object")
    return found
