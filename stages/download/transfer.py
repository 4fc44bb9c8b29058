"""The bytes of a repository's files: several at once, resumed, and each checked before it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from download.client import Hub
from download.folder import weights_of
from download.pins import sha256_of
from download.repo import Repo
from download.trouble import explained
from tinfra_worker import BadInput, BadParam, Job, Resources, Transient, retry
from tinfra_worker.fault import shortage
from tinfra_worker.retry import LONGEST

AT_ONCE = 4  # files; xet and a busy CDN both gain by it
TICK = 0.2  # seconds between two looks at how far the files are
XET_FROM = 10 << 20  # bytes: a file in git itself is never larger, and a request to learn of xet is saved below


@dataclass(frozen=True)
class Wanted:
    """A file of a commit and the proof that it came: sha256, or git's own hash where the hub publishes no other."""

    path: str
    size: int
    sha256: str = ""
    blob: str = ""  # sha1 of "blob SIZE\0" and the bytes
    xet: str | None = None  # its name in xet's storage; "" when it is not there, None when nobody asked

    @property
    def digest(self) -> str:
        return f"sha256-{self.sha256}" if self.sha256 else f"git-{self.blob}"

    def differs(self, path: Path) -> str:
        """What is wrong with a file; "" when it is the wanted one."""
        size = path.stat().st_size
        if size != self.size:
            return f"{self.size} bytes were expected, {size} came"
        if self.sha256:
            name, want, have = "sha256", self.sha256, sha256_of(path)
        else:
            name, want, have = "git's sha1", self.blob, blob_of(path)
        return "" if want == have else f"{name} {want} was expected, {have} came"


@dataclass(frozen=True)
class Commit:
    """A repository at one commit, on one hub."""

    hub: Hub
    repo: Repo
    commit: str

    def url(self, path: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(
            self.repo.name, path, repo_type=self.repo.kind, revision=self.commit, endpoint=self.hub.endpoint
        )


def blob_of(path: Path) -> str:
    """The hash by which git knows a file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as f:
        while piece := f.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def bring(job: Job, source: Commit, wanted: list[Wanted], out: Path) -> None:
    """Put the files below `out`, all of them or none. What came is kept under its digest until then, in a folder that
    outlives the attempt: a half file too, since its digest will say whether the halves fit.
    """
    store = store_of(job)
    by_digest = {w.digest: w for w in wanted}
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        copied = set(weights_of([w.path for w in wanted])) if job.wants("model") else set()
        room(store, list(by_digest.values()), sum(w.size for w in wanted if w.path in copied))
        running = [pool.submit(bring_one, job, source, w, store / w.digest) for w in by_digest.values()]
        follow(job, running, list(by_digest.values()), store)
    except BaseException:
        drop_empty(store)
        raise
    finally:
        # Not waited for: whoever fails or is cancelled ends the process.
        pool.shutdown(wait=False, cancel_futures=True)
    for w in wanted:
        target = out / w.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if by_digest[w.digest] is not w:  # the same bytes under another name
            shutil.copyfile(store / w.digest, target)
    for w in by_digest.values():
        shutil.move(store / w.digest, out / w.path)
    shutil.rmtree(store)


def store_of(job: Job) -> Path:
    """Where bytes wait until all are there."""
    kept = Path(job.request.checkpoint) / "hub" if job.request.checkpoint else job.workspace / "tmp" / "hub"
    kept.mkdir(exist_ok=True)
    found = sum(p.stat().st_size for p in kept.iterdir())
    if found:
        job.observe("restored", "hub")
        job.log(f"{found} bytes are here from an earlier attempt")
    return kept


def drop_empty(store: Path) -> None:
    """Leave nothing where nothing came, or the next attempt would seem to go on from something."""
    for path in store.iterdir():
        if not have(path):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: something came, or a thread still at work has begun a file
        store.rmdir()


def room(store: Path, wanted: list[Wanted], copied: int) -> None:
    """:class:`Resources` before anything is fetched, when it cannot all fit, with the bytes that are copied at the end.

    Then it would be too late: what has come is no longer kept for another attempt.
    """
    missing = sum(w.size - min(w.size, have(store / w.digest)) for w in wanted)
    free = shutil.disk_usage(store).free
    if missing + copied > free:
        raise Resources(
            f"no disk space left: {missing} bytes are to come and {copied} to be copied to the port `model`,"
            f" {free} are free",
            "free space where the cache stands",
        )


def have(path: Path) -> int:
    """Bytes of a file, which its own thread may remove at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def follow(job: Job, running: list[Future[None]], wanted: list[Wanted], store: Path) -> None:
    """Tell how far it is until all are done; raises what the first one that failed raised."""
    total = sum(w.size for w in wanted)
    left = set(running)
    while left:
        done, left = wait(left, TICK, FIRST_EXCEPTION)
        for future in done:
            future.result()
        come = sum(min(w.size, have(store / w.digest)) for w in wanted)
        job.progress(come, total, "bytes", "downloading")


def bring_one(job: Job, source: Commit, w: Wanted, path: Path) -> None:
    """One file, whole and checked. Wrong bytes are thrown away and asked for once more."""
    for again in (True, False):
        if have(path) > w.size:
            path.unlink()
        resumed = have(path) > 0
        patiently(job, w, path, lambda: receive(job, source, w, path))
        wrong = w.differs(path)
        if not wrong:
            return
        path.unlink()
        if again:
            earlier = ", a part of it in an earlier attempt" if resumed else ""
            job.log(f"{w.path}: {wrong}{earlier}; asking for it anew", "warning")
    raise BadInput(
        "",
        f"{w.path} of {source.repo.name} at {source.commit}: {wrong}, twice",
        "the hub, a mirror or a proxy serves other bytes than it publishes; try another one, or later",
    )


def patiently(job: Job, w: Wanted, path: Path, attempt: Callable[[], None]) -> None:
    """Retry what fails in passing for as long as bytes keep coming."""
    while True:
        before = have(path)
        try:
            retry(attempt, waiting=lambda why: job.log(f"{w.path}: {why} ({have(path)} bytes are here)", "warning"))
        except Transient as e:
            if have(path) <= before or (e.retry_after or 0) > LONGEST:
                raise
        else:
            return


def receive(job: Job, source: Commit, w: Wanted, path: Path) -> None:
    """Append what is missing, by xet where the hub offers it, else by https."""
    path.touch()
    if have(path) == w.size:
        return
    with path.open("r+b") as sink, explained(source.hub, source.repo, w.path, source.commit):
        sink.seek(0, os.SEEK_END)
        if by_xet(job, source, w, sink):
            return
        by_https(source, w, sink)


def by_https(source: Commit, w: Wanted, sink: BinaryIO) -> None:
    import httpx
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get

    begin = sink.tell()
    try:
        http_get(
            source.url(w.path),
            sink,
            resume_size=begin,
            headers=source.hub.headers(),
            expected_size=w.size,
            displayed_filename=w.path,
        )
    except HfHubHTTPError as e:  # an OSError too
        if e.response.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        sink.truncate(0)
        raise Transient("the server cannot go on from here; starting anew") from e
    except OSError as e:
        if e.errno is not None:
            raise
        # The body was whole, and not as long as the file: its digest will say what is wrong.
    except ValueError as e:
        raise BadParam("source", f"{w.path}: {e}", "is xet switched off?") from e


def by_xet(job: Job, source: Commit, w: Wanted, sink: BinaryIO) -> bool:
    """Whether xet brought the file. Where its storage fails, https has the same bytes."""
    hub = source.hub
    if not hub.xet:
        return False
    found = xet_file(source, w)
    if found is None:
        return False
    from hf_xet import XetFileInfo
    from huggingface_hub.utils._xet import get_xet_session, refresh_xet_connection_info, xet_headers_without_auth

    headers = hub.headers_for(found.refresh_route)
    try:
        connection = refresh_xet_connection_info(file_data=found, headers=headers)
    except ValueError as e:  # a mirror that knows of xet and gives no token for it
        job.log(f"{w.path}: {e}; going on by https", "warning")
        return False
    hub.rules.check_url(connection.endpoint, hop=True)
    try:
        with get_xet_session().new_download_stream_group(
            endpoint=connection.endpoint,
            token=connection.access_token,
            token_expiry_unix_secs=connection.expiration_unix_epoch,
            token_refresh_url=found.refresh_route,
            token_refresh_headers=headers,
            custom_headers=xet_headers_without_auth(headers),
        ) as group:
            for piece in group.download_stream(XetFileInfo(found.file_hash, w.size), start=sink.tell() or None):
                sink.write(piece)
    except Exception as e:
        if full := shortage(e):
            raise full from e
        job.log(f"{w.path}: xet's storage fails ({type(e).__name__}); going on by https", "warning")
        return False
    if sink.tell() < w.size:  # its stream has been seen to end without an error when its storage failed
        job.log(f"{w.path}: xet's storage gave {sink.tell()} of {w.size} bytes; going on by https", "warning")
        return False
    return True


def xet_file(source: Commit, w: Wanted):  # noqa: ANN201 (the client's own type, imported late)
    """The file's name in xet's storage, and where a token for it is given; None for a file that is not there."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.utils._xet import XetFileData, XetTokenType, xet_connection_info_refresh_url

    if w.xet:
        route = xet_connection_info_refresh_url(
            token_type=XetTokenType.READ,
            repo_id=source.repo.name,
            repo_type=source.repo.kind,
            revision=source.commit,
            endpoint=source.hub.endpoint,
        )
        return XetFileData(w.xet, route)
    if w.xet == "" or w.size <= XET_FROM:
        return None
    return get_hf_file_metadata(
        source.url(w.path), token=source.hub.token or False, endpoint=source.hub.endpoint
    ).xet_file_data
