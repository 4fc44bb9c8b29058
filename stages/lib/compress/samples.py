"""The tokens whose activations a scheme looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinfra_worker import BadInput, Job

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


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


def as_data(samples: torch.Tensor) -> dict[str, Any]:
    """Samples as arguments of llm-compressor's oneshot, one a batch."""
    from tokenizers import Tokenizer, models
    from torch.utils.data import DataLoader
    from transformers import PreTrainedTokenizerFast

    return {
        "dataset": DataLoader([{"input_ids": row} for row in samples], batch_size=1),
        # llm-compressor 0.14 asks for a processor beside any data, and never uses it on ready tokens.
        "processor": PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())),
    }
