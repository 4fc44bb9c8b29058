"""The worker's side of the tinfra worker protocol, version 1 (stages/protocol/PROTOCOL.md).

A worker is a function of one :class:`Job`::

    from tinfra_worker import Job, run

    def main(job: Job) -> None:
        bits = job.param("bits", int)
        ...

    if __name__ == "__main__":
        run(main)

This package knows a workspace's files, their JSON, the exit codes and how a process is stopped. It must not know
tensors, models or any library outside the standard one.
"""

from .fault import BadInput, BadMetric, BadParam, Cancelled, Fault, Machine, Resources, Transient
from .job import Job
from .request import Input, Pin, Request
from .retry import retry
from .run import run

__all__ = [
    "BadInput",
    "BadMetric",
    "BadParam",
    "Cancelled",
    "Fault",
    "Input",
    "Job",
    "Machine",
    "Pin",
    "Request",
    "Resources",
    "Transient",
    "retry",
    "run",
]
