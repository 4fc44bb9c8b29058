"""A checkpoint as a decoder graph over its own files, and a look at whether the graph is what was asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from lib.llm.checkpoint import check_model, device, load_config
from lib.onnx.decoder import added
from lib.onnx.decoder.check import check
from lib.onnx.decoder.graph import Asked, Decoder
from lib.onnx.decoder.int8 import is_int8
from lib.onnx.decoder.rope import KINDS
from lib.onnx.decoder.weights import Unsound, open_weights
from lib.onnx.genai import copy_tokenizer
from lib.onnx.graph import MODEL
from lib.onnx.packed import check_scheme
from tinfra_worker import BadInput, Job, run

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")
OTHERWISE = "the kind onnx exports other models, for onnxruntime"


def main(job: Job) -> None:
    import torch

    torch.set_num_threads(job.cpus)
    source, out = job.input("model"), job.output("model")
    said = check_model(job, "model")
    config = load_config(job, "model")
    check_architecture(config)
    wide = job.param("accumulate", str) == "float32"
    asked = Asked(config, job.param("dtype", str), ends(source, config), check_weights(said), wide)
    try:
        weights = open_weights(source)
        decoder = Decoder(asked, weights, device(job))
        contract = decoder.write(out, lambda done, total: job.progress(done, total, "tensors", "writing the graph"))
    except Unsound as e:
        raise BadInput("model", str(e)) from e
    contract.write(out)
    for name in sorted(weights.used):
        job.reuse("model", name, port="model", source=name)
    copy_rest(job, out)
    nodes = check(out, source, contract)
    new = sum((out / name).stat().st_size for name in (MODEL, added.FILE))
    job.metric("nodes", nodes)
    job.metric("added_bytes", new)
    job.metric("size_bytes", new + sum((source / name).stat().st_size for name in weights.used))
    job.metric("weight_bytes", contract.weight_bytes)


def check_architecture(config: Any) -> None:
    """:class:`BadInput` unless the model computes what the graph would."""
    name = (config.architectures or ["nothing"])[0]
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    said = [
        (name in ARCHITECTURES, f"it is a {name}; {' and '.join(ARCHITECTURES)} are exported"),
        (not getattr(config, "sliding_window", None), "it attends through a sliding window"),
        (getattr(config, "hidden_act", "silu") == "silu", "its feed-forward part is not of silu"),
        (kind in KINDS and rope.get("partial_rotary_factor", 1) == 1, f"its positions are of kind {kind}"),
    ]
    for fits, what in said:
        if not fits:
            raise BadInput("model", f"the model has no decoder graph here: {what}", OTHERWISE)


def check_weights(config: dict[str, Any]) -> str:
    """How the checkpoint has its weights: float, int4 or int8; :class:`BadInput` for anything else."""
    if is_int8(config, "model"):
        return "int8"
    return "int4" if check_scheme(config, "model") else "float"


def ends(source: Path, config: Any) -> list[int]:
    """The tokens that end a text: generation_config.json's, else config.json's."""
    path = source / "generation_config.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as e:
        raise BadInput("model", f"generation_config.json cannot be read: {e}") from e
    found = said.get("eos_token_id", config.eos_token_id)
    return [] if found is None else found if isinstance(found, list) else [found]


def copy_rest(job: Job, out: Path) -> None:
    """Lay config and tokenizer beside the graph."""
    source = job.input("model")
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)
    copy_tokenizer(job.input("tokenizer" if job.has_input("tokenizer") else "model"), out)


if __name__ == "__main__":
    run(main)
