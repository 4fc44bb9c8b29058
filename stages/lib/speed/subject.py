"""What of a model's folder decides how it is timed, read from its JSON files alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinfra_worker import BadInput, Job

GRAPH, ENGINE = "model.onnx", "engine.plan"
WEIGHTS = {".safetensors", ".onnx", ".data", ".plan"}  # suffixes of graph and weights


@dataclass(frozen=True)
class Subject:
    """`form` is checkpoint, graph or engine; `vocabulary` in tokens, `context` in positions, 0 where it is not stated.

    `dtype` is what a graph or an engine computes in, "" of a checkpoint, which can be computed in any; `quantized`: a
    checkpoint whose weights are not stored plainly. `ends` are the tokens that end a text. `cached` is how many numbers
    a token has in the key-value cache, 0 where the files do not say.
    """

    folder: Path
    form: str
    vocabulary: int
    context: int
    dtype: str
    quantized: bool
    ends: frozenset[int]
    cached: int


def read_subject(job: Job, port: str) -> Subject:
    """:class:`BadInput` where the folder does not say what must be known of it."""
    folder = job.input(port)
    if (folder / ENGINE).is_file():
        return _engine(job, port, folder)
    form, name = ("graph", "genai_config.json") if (folder / GRAPH).is_file() else ("checkpoint", "config.json")
    config = read_object(job, port, name)
    if form == "graph":
        config = config["model"] if isinstance(config.get("model"), dict) else {}
    vocabulary = config.get("vocab_size")
    context = config.get("context_length" if form == "graph" else "max_position_embeddings", 0)
    if not isinstance(vocabulary, int) or vocabulary < 1 or not isinstance(context, int):
        raise BadInput(port, f"{name} of the model states no vocab_size")
    told = config
    if form == "checkpoint" and (folder / "generation_config.json").is_file():
        told = read_object(job, port, "generation_config.json")
    dtype = "" if form == "checkpoint" else "float32"
    quantized = bool(config.get("quantization_config")) or (
        form == "graph" and b"MatMulNBits" in (folder / GRAPH).read_bytes()
    )
    return Subject(
        folder, form, vocabulary, context, dtype, quantized, _ends(told.get("eos_token_id")), _cached(config)
    )


def _engine(job: Job, port: str, folder: Path) -> Subject:
    """decoder.json is the contract of `onnx_decoder`."""
    said = read_object(job, port, "decoder.json")
    sizes = [said.get(k) for k in ("vocabulary", "context", "layers", "kv_heads", "head_dim")]
    if not all(isinstance(n, int) and n > 0 for n in sizes) or not isinstance(said.get("dtype"), str):
        raise BadInput(port, "decoder.json of the engine does not say what it computes")
    vocabulary, context, layers, heads, size = sizes
    quantized = said.get("weights") != "float"
    ends = _ends(said.get("ends"))
    return Subject(
        folder, "engine", vocabulary, context, said["dtype"], quantized, ends, cached=2 * layers * heads * size
    )


def _ends(said: Any) -> frozenset[int]:
    return frozenset(said if isinstance(said, list) else [] if said is None else [said])


def _cached(config: dict[str, Any]) -> int:
    """Keys and values of one token, in numbers: 2 × layers × heads of theirs × size of a head."""
    layers, heads, hidden = (config.get(k) for k in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    if not all(isinstance(n, int) and n > 0 for n in (layers, heads, hidden)):
        return 0
    return 2 * layers * (config.get("num_key_value_heads") or heads) * (config.get("head_dim") or hidden // heads)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of graph or weights, by its path in the model."""
    files = sorted(folder.rglob("*"))
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in files if p.suffix in WEIGHTS and p.is_file()}


def read_object(job: Job, port: str, name: str) -> dict[str, Any]:
    """A JSON object of an input; :class:`BadInput` when it is not there or no object."""
    try:
        found = json.loads((job.input(port) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(port, f"{name} of input {port} cannot be read: {e}") from e
    if not isinstance(found, dict):
        raise BadInput(port, f"{name} of input {port} holds no object")
    return found
