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


def weights_of(paths: list[str]) -> list[str]:
    """The weights among the files of a download that come a second time, in the port `model`."""
    folders = {p.rpartition("/")[0] for p in paths if p.rpartition("/")[2] == "config.json"}
    found = [p for p in paths if p.endswith(".safetensors") and p.rpartition("/")[0] in folders]
    return found if len({p.rpartition("/")[0] for p in found}) == 1 else []
