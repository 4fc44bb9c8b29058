"""Which files of a Hugging Face folder are the model's, and which the tokenizer's."""

from __future__ import annotations

import shutil
from pathlib import Path

CONFIG = ("config.json", "generation_config.json")
MODEL = (*CONFIG, "*.safetensors", "*.safetensors.index.json")
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*")


def copy(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    """Copy the files that match. Links would not do: each output is taken away by itself."""
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, target / path.name)
