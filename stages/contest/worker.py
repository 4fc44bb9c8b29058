"""Several engines side by side in one process: in turn, round by round, so that whatever the machine does meets all."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from contest.asked import Asked, keys, read_params
from contest.pace import Pace
from contest.result import Contest, write
from lib.gpu import granted
from lib.speed import machine
from lib.speed.proof import check_proof
from lib.speed.subject import Subject, read_subject
from tinfra_worker import BadInput, BadParam, Job, run

if TYPE_CHECKING:
    from contest.entrant import Field, Opener


def main(job: Job, opener: Opener | None = None, nvml: Any = None, clock: Callable[[], float] = monotonic) -> None:
    """`opener`, `nvml` and `clock` are what tests give in place of real decoders, a real GPU and real time."""
    pace = Pace(job.param("limit_seconds", float), clock(), clock)
    # The SDK has threads sleep between two operations; alone on the machine they may spin, as they do by default.
    os.environ.pop("OMP_WAIT_POLICY", None)
    subjects = {key: read_subject(job, f"models[{key}]") for key in keys(job, "models")}
    asked = read_params(job, subjects)
    check_proofs(job, subjects)
    load = {"before": machine.look_around(job)}
    gpu = granted.look_at(job, nvml)
    from contest.entrant import Field
    from lib.llm.decoder import open_decoder

    write(job, compete(job, asked, Field(job, subjects, opener or open_decoder), gpu, pace), load, gpu)


def check_proofs(job: Job, subjects: dict[str, Subject]) -> None:
    """Every model has a result that is about it, and no other."""
    missing = sorted(subjects.keys() - set(keys(job, "verified")))
    if missing:
        raise BadInput("verified", f"{', '.join(missing)} was not verified", "give the result of its check by its key")
    if more := sorted(set(keys(job, "verified")) - subjects.keys()):
        raise BadInput("verified", f"{', '.join(more)} is no model of this contest")
    for key in subjects:
        try:
            check_proof(job, f"models[{key}]", f"verified[{key}]")
        except BadInput as e:
            raise BadInput("verified", f"{key}: {e.message}", e.hint) from e


def compete(job: Job, asked: Asked, field: Field, gpu: granted.Granted, pace: Pace) -> Contest:
    """Load all, check all, then one batch size after the other."""
    import torch

    from contest.heat import Heat, Heats
    from contest.saturation import BACKENDS, saturate
    from contest.truth import absent, check_all
    from lib.gpu import memory, roofline
    from lib.gpu.meter import Meter
    from lib.gpu.watch import Watch
    from lib.llm.checkpoint import device

    torch.set_num_threads(job.cpus)
    place = device(job)
    bandwidth, free = roofline.copy_bandwidth(place), memory.free(place)
    with Watch(gpu.device) as watch:
        heats = Heats(job, asked, Meter(gpu.device, watch), pace, field.vocabulary)
        truths = absent(job, asked, field, heats.prompt)
        entrants = field.load_all(asked)
        checks = check_all(entrants, truths, asked, heats.prompt)
        meter, done = machine.read_meter(), list[Heat]()
        taking = [[e for e in entrants if batch in e.entry.batches] for batch in asked.batches]
        if 2 * asked.batches[-1] <= asked.saturation:
            taking.append([e for e in entrants if e.entry.backend in BACKENDS])
        for n, batch in enumerate(asked.batches):
            done.append(heats.run(batch, taking[n], taking[n + 1 :]))
        ends = {}
        if asked.saturation:
            ends = saturate(asked, entrants, done, pace, lambda batch, racing: heats.run(batch, racing, []))
        during = machine.others(meter, machine.read_meter())
    if during["others"] > machine.QUIET:
        job.log(f"others used {during['others']} cores during the runs; the figures have suffered", "warning")
    for one in entrants:
        if not any(one.entry.name in heat.runs for heat in done):
            why = next(heat.out[one.entry.name] for heat in done if one.entry.name in heat.out)
            raise BadParam("entries", f"{one.entry.name} ran at no batch: {why}", "leave it out")
    return Contest(asked, entrants, checks, done, ends, during, bandwidth, free)


if __name__ == "__main__":
    run(main)
