"""LLM.int8 (arXiv 2208.07339) and NF4 (arXiv 2305.14314) by bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.compress.cost import tell_peak, timed
from lib.compress.packed import copy_tokenizer
from lib.llm.checkpoint import check_model, load_config, load_model, weights
from tinfra_worker import BadInput, BadParam, Job, run

if TYPE_CHECKING:
    import torch


def main(job: Job) -> None:
    if "quantization_config" in check_model(job, "model"):
        raise BadInput("model", "the model is quantized already", "give bnb the model before it was quantized")
    settings = make_settings(job)
    layers = quantize_and_save(job, settings)
    files = weights(job.output("model"))
    job.metric("quantized_layers", len(layers))
    job.metric("bits_per_weight", bits_per_weight(files, layers))
    job.metric("size_bytes", sum(f.stat().st_size for f in files))


def make_settings(job: Job) -> dict[str, Any]:
    """The params as arguments of transformers' BitsAndBytesConfig."""
    ignore = job.strings("ignore")
    if job.param("scheme", str) == "llm_int8":
        if job.param("double_quant", bool):
            raise BadParam(
                "double_quant", "llm_int8 has no scales in 8 bits", 'leave double_quant out, or set scheme = "nf4"'
            )
        return {
            "load_in_8bit": True,
            "llm_int8_threshold": job.param("threshold", float),
            "llm_int8_skip_modules": ignore,
        }
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": job.param("double_quant", bool),
        "bnb_4bit_compute_dtype": own_type(job),
        "llm_int8_skip_modules": ignore,  # of 4 bits too, in spite of its name
    }


def own_type(job: Job) -> torch.dtype:
    """The type that the model computes in, as its config has it."""
    import torch

    found = load_config(job, "model").dtype
    if found is None:
        raise BadInput("model", "config.json of the model names no dtype, so NF4 does not know what to compute in")
    return found if isinstance(found, torch.dtype) else getattr(torch, found)


def quantize_and_save(job: Job, settings: dict[str, Any]) -> dict[str, int]:
    """Write output `model`; returns the number of weights of each quantized layer, by name."""
    from transformers import BitsAndBytesConfig

    job.log("loading the model")
    with timed(job, "quantize"):
        # Each tensor goes to the device and is quantized there before the next is read.
        model = load_model(job, "model", "auto", quantization_config=BitsAndBytesConfig(**settings))
    layers = quantized(model)
    if not layers:
        raise BadParam("ignore", "no layer is left to quantize")
    out = job.output("model")
    with timed(job, "save"):
        model.save_pretrained(out)
    copy_tokenizer(job.input("model"), out)
    tell_peak(job)
    return layers


def quantized(model: torch.nn.Module) -> dict[str, int]:
    """The layers that bitsandbytes made, by name, and how many weights each has."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return {
        name: layer.in_features * layer.out_features
        for name, layer in model.named_modules()
        if isinstance(layer, (Linear4bit, Linear8bitLt))
    }


def bits_per_weight(files: Iterable[Path], layers: dict[str, int]) -> float:
    """Bits that the files hold of the layers but their biases, divided by the number of the layers' weights.

    Beside `<layer>.weight` it has `<layer>.weight.*` for 4 bits, `<layer>.SCB` and `<layer>.weight_format` for 8.
    """
    from safetensors import safe_open

    stored = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                layer, dot, part = name.partition(".weight") if ".weight" in name else name.rpartition(".")
                if layer in layers and dot and part != "bias":
                    tensor = tensors.get_tensor(name)
                    stored += tensor.numel() * tensor.element_size() * 8
    return stored / sum(layers.values())


if __name__ == "__main__":
    run(main)
