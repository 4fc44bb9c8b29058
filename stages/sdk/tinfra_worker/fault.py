"""What can go wrong in a worker, each with its exit code."""

from __future__ import annotations

import errno
from collections.abc import Iterator

CRASH = 1
BAD_PARAM = 10
BAD_INPUT = 11
MACHINE = 12
RESOURCES = 13
TRANSIENT = 14
CANCELLED = 143  # 128 + SIGTERM, as a shell reports it


class Fault(Exception):
    """A trouble that the worker can name. `hint` says what the person can do."""

    code = CRASH

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadParam(Fault):
    """A param that passed stage.hcl's checks and still cannot work, as a group size that does not divide a row."""

    code = BAD_PARAM

    def __init__(self, param: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.param = param


class BadInput(Fault):
    """An input artifact, named by its port, or the request itself (port "")."""

    code = BAD_INPUT

    def __init__(self, port: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.port = port


class Machine(Fault):
    """The machine is not what the facts say: no GPU where one was granted, a program that is missing."""

    code = MACHINE


class Resources(Fault):
    """Out of memory or disk."""

    code = RESOURCES


class Transient(Fault):
    """A passing trouble; `retry_after` is what the other side asked for, in seconds."""

    code = TRANSIENT

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class BadMetric(Fault):
    """A metric that is no number. It fails the stage: a NaN in a report is worse than none."""


class Cancelled(BaseException):
    """SIGTERM came. Not an Exception, so that no worker swallows it by accident."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


# Libraries raise their own types for a full memory or disk, some only in words: torch.OutOfMemoryError,
# RuntimeError("DefaultCPUAllocator: can't allocate memory"), SafetensorError("... No space left on device").
_MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "cuda out of memory", "cublas_status_alloc_failed")
_DISK_WORDS = ("no space left on device", "disk quota exceeded")


def shortage(error: BaseException) -> Resources | None:
    """Recognise a lack of memory or disk behind any exception; None when it is something else."""
    for link in _chain(error):
        if isinstance(link, Resources):
            return link
        words = str(link).lower()
        names = {c.__name__ for c in type(link).__mro__}
        if names & {"MemoryError", "OutOfMemoryError"} or any(w in words for w in _MEMORY_WORDS):
            detail = str(link).strip().splitlines()
            return Resources(
                f"out of memory: {detail[0]}" if detail else "out of memory",
                "give the stage more memory, or a smaller size",
            )
        full = isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(w in words for w in _DISK_WORDS):
            return Resources(f"no disk space left: {link}", "free space where the cache stands")
    return None
