"""A GGUF file as a Hugging Face model and tokenizer folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from import_gguf.tokenizer import build
from tinfra_worker import BadInput, Job, run

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def main(job: Job) -> None:
    path = job.one_file("files", job.param("file", str), "name one file by the param `file`")
    fields = read_fields(path)
    special = build(job, fields)
    job.progress(1, 3, "parts", "tokenizer")
    model = load(job, path)
    job.progress(2, 3, "parts", "weights read")
    for name in ("bos", "eos", "pad"):
        setattr(model.config, f"{name}_token_id", special.get(name))
        setattr(model.generation_config, f"{name}_token_id", special.get(name))
    job.metric("parameters", model.num_parameters())
    model.save_pretrained(job.output("model"))
    job.progress(3, 3, "parts", "weights written")
    if license_name := fields.get("general.license"):
        job.label("license", str(license_name))


def read_fields(path: Path) -> dict[str, Any]:
    """The key-value part of a GGUF file; :class:`BadInput` when the file is damaged."""
    from gguf import GGUFReader

    try:
        return {name: field.contents() for name, field in GGUFReader(path).fields.items()}
    except Exception as e:  # the reader trusts its input: a damaged file gives any of many errors
        raise BadInput("files", f"{path.name} is no sound GGUF file: {e}") from e


def load(job: Job, path: Path) -> PreTrainedModel:
    """The model with its weights dequantized, ready to be saved."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(job.cpus)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=getattr(torch, job.param("dtype", str))
        )
    except (ValueError, KeyError, OSError, NotImplementedError) as e:
        raise BadInput("files", f"transformers cannot read {path.name}: {e}") from e
    # transformers 5.17 leaves the GGUF quantizer on the dequantized model, and save_pretrained then refuses.
    model.hf_quantizer = None
    model.is_quantized = False
    for holder, name in ((model, "quantization_method"), (model.config, "quantization_config")):
        if hasattr(holder, name):
            delattr(holder, name)
    model.config.architectures = [type(model).__name__]
    return model


if __name__ == "__main__":
    run(main)
