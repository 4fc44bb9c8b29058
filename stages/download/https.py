"""https: sources: one file, streamed to disk, resumed where the connection breaks."""

from __future__ import annotations

import email.utils
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from download.hosts import Guard, guard
from download.pins import check_sha256, refuse_pickles
from download.source import Source
from tinfra_worker import BadParam, Fault, Job, Transient, retry

HOPS = 10
TIMEOUT = httpx.Timeout(60.0, connect=20.0)  # seconds; of one read, not of the whole
BUSY = (408, 425, 429)


@dataclass
class State:
    """What is on disk, and the proof that the server still means the same file."""

    path: Path
    have: int = 0
    validator: str = ""


def fetch(job: Job, source: Source, out: Path) -> None:
    """Bring the file of an https source to `out` under the last part of the URL's path."""
    url = f"https:{source.rest}"
    rules = guard(job, url)
    rules.check_url(url, hop=False)
    target = out / file_name(url)
    if not job.param("allow_pickle", bool):
        refuse_pickles(out, [target])  # before gigabytes come
    state = State(target)
    with httpx.Client(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as client:
        retry(
            lambda: attempt(job, client, rules, url, state),
            waiting=lambda why: job.log(f"{why} ({state.have} bytes are here)", "warning"),
        )
    if want := source.options.get("sha256"):
        check_sha256(target, want, source.shown)


def file_name(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise BadParam("source", "the URL's path must end in a file name")
    return name


def attempt(job: Job, client: httpx.Client, rules: Guard, url: str, state: State) -> None:
    """One request, redirects followed by hand; appends to what an earlier attempt left."""
    host = rules.first
    try:
        for hop in range(HOPS + 1):
            rules.check_url(url, hop=hop > 0)
            host = urlsplit(url).hostname or ""
            with client.stream("GET", url, headers=resume_headers(state)) as response:
                if hop:
                    check_peer(rules, host, response)
                if response.is_redirect:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                check_status(host, response, state)
                receive(job, response, state)
                return
    except httpx.HTTPError as e:
        raise network_trouble(host, e) from e
    raise BadParam("source", f"{rules.first} redirects more than {HOPS} times")


def resume_headers(state: State) -> dict[str, str]:
    # Without a validator the server could have changed the file meanwhile, and the halves would not fit.
    if not (state.have and state.validator):
        return {}
    return {"Range": f"bytes={state.have}-", "If-Range": state.validator}


def check_peer(rules: Guard, host: str, response: httpx.Response) -> None:
    """The address that was really connected to; a proxy's own does not count, as it resolves for us."""
    stream = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream else None
    if peer and not uses_proxy(host):
        rules.check_address(host, str(peer[0]))


def uses_proxy(host: str) -> bool:
    import urllib.request

    return "https" in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def check_status(host: str, response: httpx.Response, state: State) -> None:
    code = response.status_code
    if code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        state.have, state.validator = 0, ""
        raise Transient(f"{host} cannot go on from here; starting anew")
    if code in BUSY or code >= 500:
        raise Transient(f"{host} answers {code}", "try again later", retry_after(response.headers.get("retry-after")))
    if code in (401, 403):
        raise BadParam("source", f"{host} answers {code}: this needs rights that the download does not have")
    if code in (404, 410):
        raise BadParam("source", f"{host} answers {code}: there is no such file")
    if code not in (200, 206):
        raise BadParam("source", f"{host} answers {code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BadParam("source", f"{host} sends the file packed as {response.headers['content-encoding']}, unasked")


def retry_after(value: str | None) -> float | None:
    """Seconds that a server asks for, from Retry-After: a number or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def receive(job: Job, response: httpx.Response, state: State) -> None:
    """Write the body; :class:`Transient` when it ends before the length that the server told."""
    begin, total = extent(response, state)
    state.have = begin
    etag = response.headers.get("etag", "")
    state.validator = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")
    if total is None:
        job.log("the server does not say how long the file is: only a sha256 can tell if it is whole", "warning")
    with opened(state, begin) as out:
        for piece in response.iter_raw():
            out.write(piece)
            state.have += len(piece)
            job.progress(state.have, max(total or 0, state.have) if total else 0, "bytes", "downloading")
    if total is not None and state.have != total:
        raise Transient(f"the connection ended after {state.have} of {total} bytes")


@contextmanager
def opened(state: State, begin: int) -> Iterator[BinaryIO]:
    with state.path.open("r+b" if begin else "wb") as out:
        out.truncate(begin)
        out.seek(begin)
        yield out


def extent(response: httpx.Response, state: State) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the whole file is, if that is told."""
    length = response.headers.get("content-length", "")
    if response.status_code == 200:
        return 0, int(length) if length.isdigit() else None
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    span, _, total = rest.partition("/")
    begin = span.partition("-")[0]
    if unit != "bytes" or not begin.isdigit() or int(begin) != state.have:
        state.have, state.validator = 0, ""
        raise Transient("the server sent another part than was asked for; starting anew")
    return int(begin), int(total) if total.isdigit() else None


def network_trouble(host: str, error: httpx.HTTPError) -> Fault:
    """What a person can make of a failed connection."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLCertVerificationError):
            return BadParam(
                "source",
                f"the certificate of {host} is not trusted: {link.verify_message}",
                "if the network has a CA of its own, name its file by SSL_CERT_FILE",
            )
        link = link.__cause__ or link.__context__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Transient(f"cannot reach {host}: {error}", "is there a network, or a proxy to name by HTTPS_PROXY?")
    return Transient(f"the connection to {host} broke: {type(error).__name__} {error}".rstrip())
