"""Quantizing a checkpoint's linear layers: what the schemes share. llm-compressor does it, compressed-tensors packs it.

It knows groups, grids and checkpoints, and nothing of how a scheme finds its numbers.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.llm.checkpoint import check_model, load_model, weights
from lib.llm.measure import bits_per_weight, packed_layers
from tinfra_worker import BadInput, BadParam, Fault, Job

if TYPE_CHECKING:
    import torch
    from compressed_tensors.quantization import QuantizationScheme
    from transformers import PreTrainedModel

# What goes on with a model from folder to folder, beside what save_pretrained writes.
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template*")


@dataclass
class Subject:
    """A model, and its layers that are to be quantized, by name."""

    model: PreTrainedModel
    layers: dict[str, torch.nn.Linear]
    ignore: list[str]
    _members: set[torch.nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        self._members = set(self.layers.values())

    def among(self, modules: Iterable[torch.nn.Module]) -> list[torch.nn.Module]:
        """Those of the modules that are to be quantized, in their order."""
        return [m for m in modules if m in self._members]


def open_subject(job: Job) -> Subject:
    """Input `model` in its own type, and what of it params `ignore` and `group_size` let be quantized."""
    if "quantization_config" in check_model(job, "model"):
        raise BadInput(
            "model", "the model is quantized already", f"give {job.request.kind} the model before it was quantized"
        )
    ignore = read_ignore(job)
    job.log("loading the model")
    model = load_model(job, "model", "auto")
    return Subject(model, find_layers(job, model, ignore), ignore)


def read_ignore(job: Job) -> list[str]:
    """Param `ignore`: names, or re: and a regular expression that :mod:`re` takes."""
    ignore = job.strings("ignore")
    for pattern in ignore:
        try:
            re.compile(pattern.removeprefix("re:"))
        except re.error as e:
            raise BadParam("ignore", f"{pattern!r} is no regular expression: {e}") from e
    return ignore


def find_layers(job: Job, model: PreTrainedModel, ignore: list[str]) -> dict[str, torch.nn.Linear]:
    """The layers to quantize, by name; :class:`BadParam` when there are none or the group does not divide one."""
    from compressed_tensors.utils import match_named_modules

    found = dict(match_named_modules(model, ["Linear"], ignore))
    if not found:
        raise BadParam("ignore", "no layer is left to quantize")
    group = job.param("group_size", int)
    for name, layer in found.items():
        if layer.in_features % group:
            fitting = ", ".join(map(str, divisors(found.values())))
            raise BadParam(
                "group_size",
                f"group_size is {group}; it does not divide the {layer.in_features} inputs of {name}",
                f"choose one of {fitting}" if fitting else f"name {name} in ignore",
            )
        # Rounding turns NaN into some number, and nothing would tell.
        if not layer.weight.isfinite().all():
            raise BadInput("model", f"the weight of {name} holds NaN or infinite numbers")
    return found


def divisors(layers: Iterable[torch.nn.Linear]) -> list[int]:
    """Powers of two from 16 that divide the input size of every layer."""
    sizes = [layer.in_features for layer in layers]
    return [g for g in (16, 32, 64, 128, 256) if all(size % g == 0 for size in sizes)]


def make_scheme(job: Job) -> QuantizationScheme:
    """The grid that params `bits`, `group_size`, `symmetric` and `observer` ask for."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    return QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(
            num_bits=job.param("bits", int),
            type="int",
            symmetric=job.param("symmetric", bool),
            strategy="group",
            group_size=job.param("group_size", int),
            # The other observers average over batches; a weight is seen once.
            observer=f"memoryless_{job.param('observer', str)}",
        ),
    )


def make_rounding(job: Job, subject: Subject) -> Any:
    """The modifier that rounds each weight to the nearest point of its group's grid."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    total, done = len(subject.layers), 0

    class Rounding(QuantizationModifier):
        # All modules come at once where there is no calibration. Layer by layer there is something to tell.
        def on_sequential_epoch_end(self, state: Any, event: Any, modules: Any, **kwargs: Any) -> None:
            nonlocal done
            for module in subject.among(modules):
                super().on_sequential_epoch_end(state, event, [module], **kwargs)
                done += 1
                job.progress(done, total, "linear layers", "rounding")

    return Rounding(config_groups={"weights": make_scheme(job)}, ignore=subject.ignore)


def read_samples(job: Job, model: PreTrainedModel) -> torch.Tensor:
    """Input `calibration`, int64 [samples, length], every token of it in the model's vocabulary."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = job.one_file("calibration", "*.safetensors")
    try:
        rows = load_file(path).get("input_ids")
    except (SafetensorError, OSError) as e:
        raise BadInput("calibration", f"{path.name} is damaged: {e}") from e
    if rows is None or rows.ndim != 2 or not rows.numel() or rows.is_floating_point():
        raise BadInput("calibration", f"{path.name} must hold input_ids, int64 [samples, length]")
    rows = rows.long()
    vocabulary = model.get_input_embeddings().weight.shape[0]
    for token in (int(rows.max()), int(rows.min())):
        if not 0 <= token < vocabulary:
            raise BadInput(
                "calibration", f"token {token} is not in the model's vocabulary of {vocabulary}: another tokenizer?"
            )
    context = getattr(model.config, "max_position_embeddings", None) or rows.shape[1]
    if rows.shape[1] > context:
        raise BadInput(
            "calibration",
            f"its samples of {rows.shape[1]} tokens are longer than the model's context of {context}",
            f"set length = {context} or less in calibrate",
        )
    return rows


def quantize(subject: Subject, modifiers: list[Any], samples: torch.Tensor | None = None) -> None:
    """Carry out llm-compressor's modifiers on the model, in place. RTN alone needs no samples."""
    from llmcompressor import oneshot

    data = {} if samples is None else _as_data(samples)
    head = subject.model.get_output_embeddings()
    oneshot(
        model=subject.model,
        recipe=modifiers,
        # By default the head is torn from the embedding, and a model of 135 million weights grows by a quarter.
        tie_word_embeddings=head not in subject.layers.values(),
        **data,
    )


def _as_data(samples: torch.Tensor) -> dict[str, Any]:
    from tokenizers import Tokenizer, models
    from torch.utils.data import DataLoader
    from transformers import PreTrainedTokenizerFast

    return {
        "dataset": DataLoader([{"input_ids": row} for row in samples], batch_size=1),
        # llm-compressor 0.14 asks for a processor beside any data, and never uses it on ready tokens.
        "processor": PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())),
    }


def save(job: Job, subject: Subject) -> None:
    """Write output `model`, with the tokenizer files of the source, and tell what it takes."""
    out = job.output("model")
    subject.model.save_pretrained(out, save_compressed=True)
    # llm-compressor's own note of what it did; params in the record say the same, and this one names our class.
    (out / "recipe.yaml").unlink(missing_ok=True)
    copy_tokenizer(job.input("model"), out)
    files = weights(out)
    if missing := sorted(subject.layers.keys() - packed_layers(files)):
        raise Fault(f"{len(missing)} layers of the checkpoint are not packed: {', '.join(missing[:5])}")
    job.metric("quantized_layers", len(subject.layers))
    job.metric("bits_per_weight", bits_per_weight(files))
    job.metric("size_bytes", sum(f.stat().st_size for f in files))


def copy_tokenizer(source: Path, target: Path) -> None:
    for pattern in TOKENIZER_FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)
