"""A tiny Llama of the test's own, calibration for it, and the job of any scheme on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from tinfra_worker import Job

COMMON = {"bits": 4, "group_size": 16, "symmetric": True, "observer": "minmax", "rest": "keep", "ignore": ["lm_head"]}
PARAMS = {
    "gptq": COMMON | {"damping": 0.01, "act_order": "static", "block_size": 128},
    "awq": COMMON | {"grid": 4, "duo_scaling": "on"},
    "rtn": COMMON,
}


def write_model(folder: Path, **changes: Any) -> Path:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=128, max_position_embeddings=64, **(sizes | changes))
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():  # far enough apart that the last layer still tells tokens from each other
            parameter.mul_(4 if parameter.ndim == 2 else 1)
    model.save_pretrained(folder)
    return folder


def write_tokens(folder: Path, rows: Any = None) -> Path:
    folder.mkdir()
    if rows is None:
        rows = np.random.default_rng(3).integers(0, 128, (8, 32), dtype=np.int64)
    save_file({"input_ids": np.asarray(rows)}, folder / "tokens.safetensors")
    return folder


@pytest.fixture
def make_space(workspace: Callable[[str], Any], tmp_path: Path) -> Callable[..., Any]:
    """Makes the workspace of a kind; `changes` are of the model's config, `rows` the calibration tokens."""
    made = 0

    def make(
        kind: str, changes: dict[str, Any] | None = None, model: Path | None = None, rows: Any = None, **params: Any
    ) -> Any:
        nonlocal made
        made += 1
        space = workspace(kind)
        space.request["params"] = PARAMS[kind] | params
        folder = model or write_model(tmp_path / f"model{made}", **(changes or {}))
        space.add_input("model", folder, "model/hf")
        if kind != "rtn":
            space.add_input("calibration", write_tokens(tmp_path / f"tokens{made}", rows), "dataset/tokens")
        space.request["outputs"] = {"model": "model/hf"}
        return space

    return make


@pytest.fixture
def make_job(make_space: Callable[..., Any]) -> Callable[..., Job]:
    """Makes the job of such a workspace."""
    return lambda *args, **named: make_space(*args, **named).job()
