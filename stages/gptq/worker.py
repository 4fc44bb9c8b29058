"""GPTQ (arXiv 2210.17323) by llm-compressor."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptq.measure import bits_per_weight
from lib.llm.checkpoint import check_model, load_model, weights
from tinfra_worker import BadInput, BadParam, Fault, Job, run

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# What goes on with a model from folder to folder, beside what save_pretrained writes.
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template*")


@dataclass
class Tally:
    """Layers to quantize, quantized, and merely rounded."""

    total: int
    done: int = 0
    fallbacks: int = 0


def main(job: Job) -> None:
    if "quantization_config" in check_model(job, "model"):
        raise BadInput("model", "the model is quantized already", "give gptq the model before it was quantized")
    samples = read_samples(job)
    job.log("loading the model")
    model = load_model(job, "model", "auto")
    tally = quantize(job, model, samples)
    out = job.output("model")
    model.save_pretrained(out, save_compressed=True)
    # llm-compressor's own note of what it did; params in the record say the same, and this one names our class.
    (out / "recipe.yaml").unlink(missing_ok=True)
    copy_tokenizer(job.input("model"), out)
    report(job, out, tally)


def read_samples(job: Job) -> torch.Tensor:
    """The calibration tokens, int64 [samples, length]."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = job.one_file("calibration", "*.safetensors")
    try:
        rows = load_file(path).get("input_ids")
    except (SafetensorError, OSError) as e:
        raise BadInput("calibration", f"{path.name} is damaged: {e}") from e
    if rows is None or rows.ndim != 2 or not rows.numel() or rows.is_floating_point():
        raise BadInput("calibration", f"{path.name} must hold input_ids, int64 [samples, length]")
    return rows.long()


def quantize(job: Job, model: PreTrainedModel, samples: torch.Tensor) -> Tally:
    """Quantize the model in place; returns what was done."""
    from llmcompressor import oneshot
    from tokenizers import Tokenizer, models
    from torch.utils.data import DataLoader
    from transformers import PreTrainedTokenizerFast

    rows = model.get_input_embeddings().weight.shape[0]
    if (highest := int(samples.max())) >= rows:
        raise BadInput("calibration", f"token {highest} is beyond the model's vocabulary of {rows}: another tokenizer?")
    ignore = job.strings("ignore")
    layers = find_layers(job, model, ignore)
    tally = Tally(total=len(layers))
    oneshot(
        model=model,
        dataset=DataLoader([{"input_ids": row} for row in samples], batch_size=1),
        # llm-compressor 0.14 asks for a processor beside any data, and never uses it on ready tokens.
        processor=PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())),
        recipe=[make_modifier(job, tally, ignore)],
        # By default the head is torn from the embedding, and a model of 135 million weights grows by a quarter.
        tie_word_embeddings=model.get_output_embeddings() not in layers.values(),
    )
    return tally


def make_modifier(job: Job, tally: Tally, ignore: list[str]) -> Any:
    """GPTQ set up by the params, telling what is done after each decoder layer."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor.modifiers.gptq import GPTQModifier

    class Reporting(GPTQModifier):
        # llm-compressor works decoder layer by decoder layer and calls this after each. It copies the modifier and
        # clears the copy at the end, so what is done is kept outside.
        def on_sequential_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            super().on_sequential_epoch_end(*args, **kwargs)
            if self._num_compressed_modules > tally.done:
                tally.done = self._num_compressed_modules
                job.progress(tally.done, tally.total, "linear layers", "quantizing")
            tally.fallbacks = len(self._rtn_fallback_module_names)

    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(
            num_bits=job.param("bits", int),
            type="int",
            symmetric=job.param("symmetric", bool),
            strategy="group",
            group_size=job.param("group_size", int),
        ),
    )
    order = job.param("act_order", str)
    job.progress(0, tally.total, "linear layers", "quantizing")
    return Reporting(
        config_groups={"weights": scheme},
        ignore=ignore,
        dampening_frac=job.param("damping", float),
        actorder=None if order == "none" else order,
    )


def find_layers(job: Job, model: PreTrainedModel, ignore: list[str]) -> dict[str, Any]:
    """The layers to quantize, by name; :class:`BadParam` when there are none or the group does not divide one."""
    import re

    from compressed_tensors.utils import match_named_modules

    for pattern in ignore:
        try:
            re.compile(pattern.removeprefix("re:"))
        except re.error as e:
            raise BadParam("ignore", f"{pattern!r} is no regular expression: {e}") from e
    found = dict(match_named_modules(model, ["Linear"], ignore))
    if not found:
        raise BadParam("ignore", "no layer is left to quantize")
    group = job.param("group_size", int)
    for name, layer in found.items():
        if layer.in_features % group:
            raise BadParam(
                "group_size",
                f"group_size is {group}; it does not divide the {layer.in_features} inputs of {name}",
                f"choose one of {', '.join(map(str, divisors(found.values())))}",
            )
    return found


def divisors(layers: Any) -> list[int]:
    """Powers of two from 16 that divide the input size of every layer."""
    return [g for g in (16, 32, 64, 128, 256) if all(layer.in_features % g == 0 for layer in layers)]


def copy_tokenizer(source: Path, target: Path) -> None:
    for pattern in TOKENIZER_FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)


def report(job: Job, out: Path, tally: Tally) -> None:
    if tally.done != tally.total:
        raise Fault(f"llm-compressor quantized {tally.done} of {tally.total} layers: do all samples reach all of them?")
    if tally.fallbacks:
        job.log(
            f"{tally.fallbacks} of {tally.done} layers were rounded to nearest: their Hessian could not be inverted",
            "warning",
        )
    job.metric("quantized_layers", tally.done)
    job.metric("rtn_fallbacks", tally.fallbacks)
    job.metric("bits_per_weight", bits_per_weight(weights(out)))
    job.metric("size_bytes", sum(f.stat().st_size for f in weights(out)))


if __name__ == "__main__":
    run(main)
