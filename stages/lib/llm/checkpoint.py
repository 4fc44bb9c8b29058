"""A model folder in Hugging Face's layout: checked before any library trusts it, then loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.llm.notice import say_once
from tinfra_worker import BadInput, Job, Machine

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


def weights(folder: Path) -> list[Path]:
    """The safetensors files of a model, by name."""
    return sorted(folder.glob("*.safetensors"))


def check_model(job: Job, port: str) -> dict[str, Any]:
    """config.json of a model input whose weights files have sound headers; :class:`BadInput` says what is wrong."""
    try:
        return check_folder(job.input(port))
    except ValueError as e:
        raise BadInput(port, str(e)) from e


def check_folder(folder: Path) -> dict[str, Any]:
    """config.json of a model whose weights files have sound headers; ValueError says what is wrong.

    safetensors' own reader checks the header's length, that tensors lie inside the file and that none overlap.
    """
    from safetensors import SafetensorError, safe_open

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"config.json of the model cannot be read: {e}") from e
    if not isinstance(config, dict) or "model_type" not in config:
        raise ValueError("config.json of the model names no model_type")
    files = weights(folder)
    if not files:
        raise ValueError("the model holds no .safetensors file")
    for file in files:
        try:
            with safe_open(file, framework="numpy") as tensors:
                tensors.keys()
        except (SafetensorError, OSError) as e:
            raise ValueError(f"{file.name} is damaged: {e}") from e
    return config


def load_config(job: Job, port: str) -> PretrainedConfig:
    """The config of a model input as transformers reads it; code from the checkpoint is never run."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(job.input(port), trust_remote_code=False)
    except (ValueError, OSError) as e:
        raise BadInput(port, f"the model's config.json does not work: {e}") from e


def load_model(job: Job, port: str, dtype: str, resident: bool = True, **options: Any) -> PreTrainedModel:
    """Load a causal LM for reading. `dtype` is torch's name, or "auto" for the checkpoint's.

    It is put on the granted device; one that is not resident stays in the machine's memory.
    """
    import torch

    check_model(job, port)
    torch.set_num_threads(job.cpus)
    try:
        return read_model(job.input(port), dtype, device(job) if resident else torch.device("cpu"), **options)
    except ValueError as e:
        raise BadInput(port, str(e)) from e


def read_model(folder: Path, dtype: str, place: torch.device, **options: Any) -> PreTrainedModel:
    """Load a causal LM for reading, straight to where it computes; ValueError says what is wrong with the folder."""
    import torch
    from transformers import AutoModelForCausalLM

    say_once()
    if place.type != "cpu":
        options["device_map"] = place
    kind = dtype if dtype == "auto" else getattr(torch, dtype)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=kind, output_loading_info=True, trust_remote_code=False, **options
        )
    except (ValueError, KeyError, OSError) as e:
        raise ValueError(f"the model cannot be loaded: {e}") from e
    # transformers fills what is missing with random numbers and only warns.
    if info["missing_keys"] or info["mismatched_keys"]:
        bad = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
        raise ValueError(f"{len(bad)} tensors of the model are missing or have another shape: {', '.join(bad[:5])}")
    return model.eval()


def read_plainly(config: dict[str, Any]) -> dict[str, Any]:
    """Options that have weight-only checkpoints unpacked once, on loading: the same numbers as in each pass, sooner.

    Where activations are quantized too, they must stay so in every pass, and the checkpoint is left as it is.
    """
    from transformers import CompressedTensorsConfig

    found = config.get("quantization_config") or {}
    groups = found.get("config_groups") or {}
    if found.get("quant_method") != "compressed-tensors" or any(g.get("input_activations") for g in groups.values()):
        return {}
    return {"quantization_config": CompressedTensorsConfig(dequantize=True)}


def device(job: Job) -> torch.device:
    """The GPU that was granted, else the CPU; :class:`Machine` when torch cannot use a granted GPU."""
    import torch

    if not job.request.gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Machine(f"a GPU was granted ({', '.join(job.request.gpus)}), and torch {torch.__version__} cannot use it")
    return torch.device("cuda")
