"""file: sources."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import unquote

from download.pins import check_sha256
from download.source import Source
from tinfra_worker import BadParam, Job


def fetch(job: Job, source: Source, out: Path) -> None:
    """Copy a file, or all files of a folder. A relative path is one below the recipe's folder."""
    path = locate(job, source)
    if path.is_file():
        target = out / path.name
        shutil.copyfile(path, target)
        if want := source.options.get("sha256"):
            check_sha256(target, want, source.shown)
        return
    if "sha256" in source.options:
        raise BadParam("source", f"{source.shown} is a folder; sha256= is for one file")
    root = path.resolve()
    found = [Path(folder) / name for folder, _, names in os.walk(root) for name in sorted(names)]
    for n, file in enumerate(found, 1):
        real = file.resolve()
        if not real.is_relative_to(root):
            raise BadParam("source", f"{file.relative_to(root)} in {source.shown} is a link that leaves the folder")
        if not real.is_file():
            raise BadParam("source", f"{file.relative_to(root)} in {source.shown} is no regular file")
        target = out / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real, target)
        job.progress(n, len(found), "files", "copying")


def locate(job: Job, source: Source) -> Path:
    """The path that a source means, which is there; :class:`BadParam` else."""
    rest = source.rest
    if rest.startswith("//"):
        rest = rest[2:]
        host, slash, below = rest.partition("/")
        if host == "localhost" and slash:
            rest = "/" + below
    path = Path(unquote(rest))
    if not rest:
        raise BadParam("source", "a file: source needs a path")
    if not path.is_absolute():
        if not job.request.recipe_dir:
            raise BadParam("source", "a relative file: source needs the recipe's folder, and the request names none")
        base = Path(job.request.recipe_dir).resolve()
        path = base / path
        if not path.resolve().is_relative_to(base):
            raise BadParam(
                "source", f"{source.shown} leaves the recipe's folder", "write an absolute path if you mean it"
            )
    if not path.exists():
        raise BadParam("source", f"{source.shown}: there is no {path}")
    if not (path.is_file() or path.is_dir()):
        raise BadParam("source", f"{source.shown} is neither a file nor a folder")
    return path
