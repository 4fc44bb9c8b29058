"""hf:// sources: files of a repository on the Hugging Face hub, at one commit."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from download.client import TIMEOUT, Hub, connect
from download.pins import refuse_pickles
from download.repo import COMMIT, Repo, repo_of
from download.selection import choose
from download.source import Source
from download.transfer import Commit, Wanted, bring
from download.trouble import explained
from tinfra_worker import BadInput, Job, retry
from tinfra_worker.request import inside

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

LEAVE_OUT = "choose by #include=, or leave it out by #exclude="
LONGEST_PATH, LONGEST_NAME = 1024, 255  # bytes, of a manifest's paths


def fetch(job: Job, source: Source, out: Path) -> None:
    """Bring what is locked, at the locked commit; else learn what the revision stands for, and choose."""
    repo = repo_of(source)
    hub = connect(job)
    at = commit_of(job, hub, repo)
    job.resolve("commit", at.commit)
    job.observe("commit", at.commit)
    if job.request.pins is not None:
        wanted = [Wanted(pin.path, pin.size, sha256=pin.sha256) for pin in job.request.pins]
    else:
        wanted = chosen(job, at, source)
    if not job.param("allow_pickle", bool):
        refuse_pickles(out, [out / w.path for w in wanted])
    bring(job, at, wanted, out)


def commit_of(job: Job, hub: Hub, repo: Repo) -> Commit:
    """The commit that the lock names; without one the hub is asked. A repository that has moved is followed."""
    if job.request.pins is not None and COMMIT.fullmatch(job.request.resolved.get("commit", "")):
        name = job.request.resolved.get("repository", repo.name)
        return Commit(hub, replace(repo, name=name), job.request.resolved["commit"])
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token=hub.token or False)

    def ask() -> tuple[str, str]:
        with explained(hub, repo):
            info = api.repo_info(repo.name, revision=repo.revision, repo_type=repo.kind, timeout=TIMEOUT)
            return info.id, info.sha or ""

    name, commit = retry(ask, waiting=lambda why: job.log(why, "warning"))
    if not COMMIT.fullmatch(commit):
        raise BadInput("", f"the hub says that {repo.name} at {repo.revision} is commit {commit!r}")
    if name.lower() != repo.name.lower():
        job.log(f"{repo.name} is called {name} now: write that in the recipe", "warning")
        job.resolve("repository", name)
    return Commit(hub, replace(repo, name=name), commit)


def chosen(job: Job, at: Commit, source: Source) -> list[Wanted]:
    """The files of the commit that the source's patterns mean, each with what the hub publishes of it."""
    from huggingface_hub import HfApi, RepoFile

    api = HfApi(endpoint=at.hub.endpoint, token=at.hub.token or False)

    def ask() -> list[RepoFile]:
        with explained(at.hub, at.repo):
            tree = api.list_repo_tree(at.repo.name, recursive=True, revision=at.commit, repo_type=at.repo.kind)
            return [entry for entry in tree if isinstance(entry, RepoFile)]

    files = {f.path: f for f in retry(ask, waiting=lambda why: job.log(why, "warning"))}
    paths = choose(sorted(files), at.repo.kind, source.lists["include"], source.lists["exclude"])
    check_names(paths)
    return [wanted(files[path]) for path in paths]


def check_names(paths: list[str]) -> None:
    """A name is the hub's word: none may climb out, each must do on any system, and no two may become one there.

    An artifact's manifest asks for the same; here it is asked before gigabytes come.
    """
    seen: dict[
        str, tuple[str, bool]
    ] = {}  # as a system without upper case sees it → the name, and whether it is a file's
    for path in paths:
        if not inside(path):
            raise BadInput("", f"the repository holds a file that climbs out: {path!r}")
        if not is_portable(path):
            raise BadInput("", f"the repository holds a name that not every system can keep: {path!r}", LEAVE_OUT)
        parts = path.split("/")
        for n in range(1, len(parts) + 1):
            here = ("/".join(parts[:n]), n == len(parts))
            was = seen.setdefault(unicodedata.normalize("NFC", here[0].casefold()), here)
            if was != here:
                raise BadInput("", f"the repository holds {was[0]} and {path}, which cannot both be kept", LEAVE_OUT)


def is_portable(path: str) -> bool:
    drive = path[1:2] == ":" and path[0].isascii() and path[0].isalpha()
    broken = any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in path)
    if drive or broken or not unicodedata.is_normalized("NFC", path):
        return False
    return len(path.encode()) <= LONGEST_PATH and all(len(part.encode()) <= LONGEST_NAME for part in path.split("/"))


def wanted(entry: RepoFile) -> Wanted:
    if entry.lfs is not None:
        return Wanted(entry.path, entry.lfs.size, sha256=entry.lfs.sha256, xet=entry.xet_hash or "")
    return Wanted(entry.path, entry.size, blob=entry.blob_id, xet=entry.xet_hash or "")
