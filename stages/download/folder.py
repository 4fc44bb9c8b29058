"""A Hugging Face folder among the files that came: its model and tokenizer as ports of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tinfra_worker import Job

MODEL = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*")


def hand_out(job: Job, files: Path) -> None:
    """Copy what belongs to the optional ports. Links would not do: each port is taken away by itself."""
    folders = [p.parent for p in files.rglob("config.json") if any(p.parent.glob("*.safetensors"))]
    if len(folders) == 1 and job.wants("model"):
        copy(folders[0], MODEL, job.output("model"))
    folders = [p.parent for p in files.rglob("tokenizer.json")]
    if len(folders) == 1 and job.wants("tokenizer"):
        copy(folders[0], TOKENIZER, job.output("tokenizer"))


def copy(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, target / path.name)
