"""A Hugging Face folder among the files that came: its model and tokenizer as ports of their own."""

from __future__ import annotations

from pathlib import Path

from lib.hf.layout import MODEL, TOKENIZER, copy
from tinfra_worker import Job


def hand_out(job: Job, files: Path) -> None:
    """Copy what belongs to the optional ports. A pickle belongs to none."""
    folders = [p.parent for p in files.rglob("config.json") if any(p.parent.glob("*.safetensors"))]
    if len(folders) == 1 and job.wants("model"):
        copy(folders[0], MODEL, job.output("model"))
    folders = [p.parent for p in files.rglob("tokenizer.json")]
    if len(folders) == 1 and job.wants("tokenizer"):
        copy(folders[0], TOKENIZER, job.output("tokenizer"))
