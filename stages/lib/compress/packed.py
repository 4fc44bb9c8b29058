"""The quantized checkpoint: written with the tokenizer of its source, and measured."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from lib.compress.cost import tell_peak, timed
from lib.compress.subject import Subject
from lib.llm.checkpoint import weights
from tinfra_worker import Fault, Job

# What goes on with a model from folder to folder, beside what save_pretrained writes.
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template*")

# What compressed-tensors keeps for one quantized layer: weight_packed, or weight where a number fills a byte.
# weight_shape (int64 [2]) only says what the packing hides.
PARTS = ("weight_packed", "weight", "weight_scale", "weight_zero_point", "weight_g_idx", "input_scale")


def save(job: Job, subject: Subject) -> None:
    """Write output `model`, with the tokenizer files of the source, and tell what it takes."""
    out = job.output("model")
    with timed(job, "save"):
        subject.model.save_pretrained(out, save_compressed=True)
    tell_peak(job)
    # llm-compressor's own note of what it did; params in the record say the same, and this one names our class.
    (out / "recipe.yaml").unlink(missing_ok=True)
    copy_tokenizer(job.input("model"), out)
    files = weights(out)
    if missing := sorted(subject.layers.keys() - quantized_layers(files)):
        raise Fault(f"{len(missing)} layers of the checkpoint are not quantized: {', '.join(missing[:5])}")
    job.metric("quantized_layers", len(subject.layers))
    job.metric("bits_per_weight", bits_per_weight(files))
    job.metric("size_bytes", sum(f.stat().st_size for f in files))


def copy_tokenizer(source: Path, target: Path) -> None:
    for pattern in TOKENIZER_FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)


def quantized_layers(files: Iterable[Path]) -> set[str]:
    """Names of the layers that have integers and a scale in place of a weight."""
    from safetensors import safe_open

    found = set()
    for file in files:
        with safe_open(file, framework="numpy") as tensors:
            names = (name.rpartition(".") for name in tensors.keys())  # noqa: SIM118 (not a dict)
            found.update(layer for layer, _, part in names if part == "weight_scale")
    return found


def bits_per_weight(files: Iterable[Path]) -> float:
    """Stored bits of all quantized layers, scales and zero points included, divided by the number of their weights."""
    from safetensors import safe_open

    files = list(files)
    layers = quantized_layers(files)
    stored = count = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                layer, _, part = name.rpartition(".")
                if layer not in layers:
                    continue
                if part in PARTS:
                    tensor = tensors.get_tensor(name)
                    stored += tensor.numel() * tensor.element_size() * 8
                    count += tensor.numel() if part == "weight" else 0
                elif part == "weight_shape":
                    count += math.prod(tensors.get_tensor(name).tolist())
    if not count:
        raise ValueError("the checkpoint holds no quantized weight")
    return stored / count
