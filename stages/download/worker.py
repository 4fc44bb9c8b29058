"""Brings files from elsewhere and checks each against the lock."""

from __future__ import annotations

from download import https, hub, local, pypi
from download.folder import hand_out
from download.pins import check_pins, refuse_pickles
from download.source import parse
from tinfra_worker import BadParam, Job, run

SCHEMES = {"hf": hub.fetch, "pypi": pypi.fetch, "https": https.fetch, "file": local.fetch}


def main(job: Job) -> None:
    source = parse(job.request.source or job.param("source", str))
    files = job.output("files")
    SCHEMES[source.scheme](job, source, files)
    found = sorted(p for p in files.rglob("*") if p.is_file())
    if not found:
        raise BadParam("source", f"{source.shown} brought no file")
    if not job.param("allow_pickle", bool):
        refuse_pickles(files, found)
    check_pins(job, files, found)
    job.metric("bytes", sum(p.stat().st_size for p in found))
    job.observe("source", source.shown)
    hand_out(job, files)


if __name__ == "__main__":
    run(main)
