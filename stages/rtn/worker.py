"""Rounding to nearest by llm-compressor: what the other schemes are measured against."""

from __future__ import annotations

from lib.compress.oneshot import make_rounding, quantize
from lib.compress.packed import save
from lib.compress.subject import Subject, open_subject
from tinfra_worker import Job, run


def main(job: Job) -> None:
    subject = open_subject(job)
    compress(job, subject)
    save(job, subject)


def compress(job: Job, subject: Subject) -> None:
    """Quantize the model in place."""
    quantize(job, subject, [make_rounding(job, subject)])


if __name__ == "__main__":
    run(main)
