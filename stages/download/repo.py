"""Which repository of the hub an hf:// source means: ORG/NAME[@REVISION], or datasets/ORG/NAME[@REVISION]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from download.source import Source
from tinfra_worker import BadParam

PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
NAME = re.compile(rf"{PART}(?:/{PART})?")
REVISION = re.compile(r"[A-Za-z0-9._/+-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHAPE = "write hf://ORG/NAME, hf://ORG/NAME@REVISION or hf://datasets/ORG/NAME"


@dataclass(frozen=True)
class Repo:
    """A repository at a revision: a branch, a tag or a commit."""

    kind: str  # model or dataset
    name: str
    revision: str

    def page(self, endpoint: str) -> str:
        """Where a person reads about it, and accepts its licence."""
        return f"{endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"


def repo_of(source: Source) -> Repo:
    """Take an hf:// source apart; :class:`BadParam` says what is wrong with it."""
    if not source.rest.startswith("//"):
        raise BadParam("source", f"{source.shown!r} has no // after hf:", SHAPE)
    name, at, revision = source.rest[2:].partition("@")
    kind = "model"
    if name.startswith("datasets/"):
        kind, name = "dataset", name.removeprefix("datasets/")
    elif name.startswith(("spaces/", "models/")):
        raise BadParam("source", f"{source.shown!r} is neither a model nor a dataset", SHAPE)
    if name.count("/") > 1:
        hint = f"files are chosen after #, as in hf://{'/'.join(name.split('/')[:2])}#include=*.json"
        raise BadParam("source", f"{source.shown!r} names more than a repository", hint)
    if not NAME.fullmatch(name) or "--" in name or ".." in name:
        raise BadParam("source", f"{name!r} cannot be the name of a repository", SHAPE)
    if at and (not REVISION.fullmatch(revision) or ".." in revision):
        raise BadParam("source", f"{revision!r} cannot be a revision", "name a branch, a tag or a commit")
    return Repo(kind, name, revision or "main")
