"""hf:// sources: files of a repository on the Hugging Face hub, at one commit."""

from __future__ import annotations

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
    """A name is the hub's word: none may climb out, and no two may become one file."""
    seen: set[str] = set()
    for path in paths:
        if not inside(path):
            raise BadInput("", f"the repository holds a file that climbs out: {path!r}")
        if path.casefold() in seen:
            raise BadInput(
                "", f"the repository holds two files called {path}", "take one of them by #include= or #exclude="
            )
        seen.add(path.casefold())


def wanted(entry: RepoFile) -> Wanted:
    if entry.lfs is not None:
        return Wanted(entry.path, entry.lfs.size, sha256=entry.lfs.sha256, xet=entry.xet_hash or "")
    return Wanted(entry.path, entry.size, blob=entry.blob_id, xet=entry.xet_hash or "")
