"""Small Llamas, plain and packed by llm-compressor, whose shapes leave odd numbers of groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a checkpoint; `changes` are its config's."""

    def make(dtype: str = "float32", **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("plain")
        torch.manual_seed(5)
        model = LlamaForCausalLM(LlamaConfig(**(SIZES | changes)))
        with torch.no_grad():
            for parameter in model.parameters():  # far enough apart that a wrong weight shows in the logits
                parameter.mul_(4 if parameter.ndim == 2 else 1)
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def packed(
    plain: Callable[..., Path], pack: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Makes a checkpoint with 4-bit weights: `groups` by the layers that they are for, the rest but `ignore`."""

    def make(
        symmetric: bool = True,
        ignore: tuple[str, ...] = ("lm_head",),
        groups: dict[str, int] | None = None,
        dtype: str = "float32",
        **changes: Any,
    ) -> Path:
        folder = tmp_path_factory.mktemp("packed")
        return pack(plain(dtype, **changes), folder, groups or {"Linear": 16}, symmetric, ignore)

    return make


@pytest.fixture
def space(workspace: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the workspace of an export."""

    def make(model: Path, tokenizer: Path | None = None, **params: Any) -> Any:
        made = workspace("onnx")
        made.request["params"] = {"precision": "int4", "lm_head": "keep", "accuracy_level": 1} | params
        made.add_input("model", model, "model/hf")
        if tokenizer:
            made.add_input("tokenizer", tokenizer, "tokenizer/hf")
        made.request["outputs"] = {"model": "model/onnx"}
        return made

    return make
