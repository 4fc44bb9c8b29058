"""What quantizing takes: the seconds of its parts, and the GPU's memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tinfra_worker import Job


@contextmanager
def timed(job: Job, part: str) -> Iterator[None]:
    """Tell the seconds of what is done inside as metric `<part>_seconds`. Nothing is told of a part that fails."""
    began = time.monotonic()
    yield
    job.metric(f"{part}_seconds", time.monotonic() - began)


def tell_peak(job: Job) -> None:
    """Tell the most that tensors took on the granted GPU so far, in bytes. Without one there is nothing to tell."""
    import torch

    if job.request.gpus:
        job.metric("peak_gpu_bytes", torch.cuda.max_memory_allocated())
