"""Small Llamas, plain and packed, and the workspace that writes their graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from lib.compress.samples import as_data

SIZES = {
    "vocab_size": 97,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}


def _write(folder: Path, dtype: str = "float32", kind: Any = LlamaForCausalLM, **changes: Any) -> Path:
    torch.manual_seed(0)
    config = kind.config_class(**(SIZES | changes))
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():  # far enough apart that a wrong weight shows in the logits
            parameter.normal_(0, 0.15) if parameter.ndim > 1 else parameter.normal_(1, 0.1)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


@pytest.fixture
def write_model() -> Callable[..., Path]:
    return _write


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint; `changes` are its config's."""
    made = 0

    def make(dtype: str = "float32", **changes: Any) -> Path:
        nonlocal made
        made += 1
        return _write(tmp_path / f"model{made}", dtype, **changes)

    return make


@pytest.fixture
def packed(model: Callable[..., Path], pack: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint with 4-bit weights: `groups` by the layers that they are for, the rest but `ignore`."""
    made = 0

    def make(
        symmetric: bool = True,
        ignore: tuple[str, ...] = ("lm_head",),
        groups: dict[str, int] | None = None,
        dtype: str = "float32",
        **changes: Any,
    ) -> Path:
        nonlocal made
        made += 1
        return pack(model(dtype, **changes), tmp_path / f"packed{made}", groups or {"Linear": 128}, symmetric, ignore)

    return make


@pytest.fixture
def eight(model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint with weights and inputs of 8 bits, calibrated on random tokens."""
    made = 0

    def make(ignore: tuple[str, ...] = ("lm_head",), dtype: str = "float32", **changes: Any) -> Path:
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
        from llmcompressor import oneshot
        from llmcompressor.modifiers.quantization import QuantizationModifier

        nonlocal made
        made += 1
        loaded = AutoModelForCausalLM.from_pretrained(model(dtype, **changes), dtype="auto")
        said = {"num_bits": 8, "type": "int", "symmetric": True}
        scheme = QuantizationScheme(
            targets=["Linear"],
            weights=QuantizationArgs(**said, strategy="channel"),
            input_activations=QuantizationArgs(**said, strategy="tensor", dynamic=False, observer="static_minmax"),
        )
        modifier = QuantizationModifier(config_groups={"group_0": scheme}, ignore=list(ignore))
        samples = torch.randint(0, SIZES["vocab_size"], (4, 32), generator=torch.Generator().manual_seed(2))
        oneshot(model=loaded, recipe=[modifier], **as_data(samples))
        folder = tmp_path / f"eight{made}"
        loaded.save_pretrained(folder, save_compressed=True)
        return folder

    return make


@pytest.fixture
def space(workspace: Callable[..., Any]) -> Callable[..., Any]:
    def make(model: Path, dtype: str = "float32", tokenizer: Path | None = None) -> Any:
        made = workspace("onnx_decoder")
        made.request["params"] = {"dtype": dtype, "accumulate": "float32"}
        made.add_input("model", model, "model/hf")
        if tokenizer:
            made.add_input("tokenizer", tokenizer, "tokenizer/hf")
        made.request["outputs"] = {"model": "model/onnx-decoder"}
        return made

    return make
