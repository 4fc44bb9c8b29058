"""Speed of generation: one engine, one model, one batch size, one process."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmark import reference
from benchmark.asked import Asked, Model, read_model, read_params
from benchmark.engine import Engine, make_engine
from benchmark.prompt import check_ports, describe, make_prompt
from benchmark.rounds import Measured, Rounds
from lib.gpu import figures as gpu_figures
from lib.gpu.granted import Granted, look_at
from lib.gpu.meter import Meter, told
from lib.gpu.roofline import ITEM, step_bytes
from lib.gpu.watch import Watch
from lib.speed import agreement, machine
from lib.speed.proof import check_proof
from lib.speed.samples import figures
from lib.speed.subject import sizes
from tinfra_worker import Job, run

if TYPE_CHECKING:
    import numpy as np


def main(job: Job) -> None:
    # The SDK has threads sleep between two operations; alone on the machine they may spin, as they do by default.
    os.environ.pop("OMP_WAIT_POLICY", None)
    check_proof(job)
    asked = read_params(job)
    model = read_model(job, asked)
    check_ports(job)
    before = machine.look_around(job)
    gpu = look_at(job)
    truth = None
    if model.subject.form != "engine":
        job.log("computing the reference")
        truth = reference.compute(job, asked, model)
    engine = make_engine(job, asked, model)
    prompt = make_prompt(job, asked, model)
    device = Gpu(asked)
    spent = load(job, engine)
    job.log(
        f"{engine.name}: {asked.warmup} + {asked.repeats} runs of {asked.batch} × ({asked.prompt} + {asked.tokens})"
    )
    first = engine.first_logits(prompt)
    check = agree(truth, first, model)
    expected = agreement.Expected(first, engine.ends, asked.tokens, model.approximate)
    with Watch(gpu.device) as watch:
        measured = Rounds(engine, prompt, asked, expected).measure(job, Meter(gpu.device, watch))
    spent["peak_memory_bytes"] = machine.memory("VmHWM")
    if (peak := engine.device_peak()) is not None:
        spent |= {"host_peak_memory_bytes": spent["peak_memory_bytes"], "peak_memory_bytes": peak}
    write(job, asked, measured, {
        "check": check,
        "engine": engine.name,
        "gpu": device.told(asked, model, engine, gpu, measured),
        "load": {"before": before, "during": measured.during},
        "machine": machine.describe(),
        "prompt": describe(job, asked, prompt),
        "sizes": sizes(model.subject.folder),
        "spent": spent,
        "versions": engine.versions,
    })  # fmt: skip


def agree(truth: agreement.Reference | None, first: np.ndarray, model: Model) -> dict[str, Any]:
    """Hold the first logits against the reference's. An engine's checkpoint is not here: `verified` compared them."""
    if truth is None:
        agreement.check_finite(first, "the engine")
        return {"reference": "of the proof", "approximate": model.approximate}
    found = agreement.compare(truth, first, model.approximate)
    return {"reference": truth.engine, "approximate": model.approximate, **found}


class Gpu:
    """What is measured of the GPU itself; nothing where the CPU computes. Made before the model is loaded."""

    def __init__(self, asked: Asked) -> None:
        self._used = asked.device == "gpu"
        if self._used:
            import torch

            from lib.gpu import memory
            from lib.gpu.roofline import copy_bandwidth

            self._device = torch.device("cuda")
            self._bandwidth = copy_bandwidth(self._device)
            self._free = memory.free(self._device)

    def told(self, asked: Asked, model: Model, engine: Engine, granted: Granted, measured: Measured) -> dict[str, Any]:
        """For the result and its metrics."""
        if not self._used:
            return {}
        from lib.gpu import memory

        out = granted.told | told(measured.readings) | {"copy_bytes_per_second": self._bandwidth}
        out["peak_bytes"] = self._free - memory.left(self._device)
        if engine.weight_bytes and model.subject.cached:
            cached = model.subject.cached * ITEM[model.dtype]
            out["bytes_per_step"] = step_bytes(
                engine.weight_bytes, cached, asked.batch, asked.prompt + asked.tokens / 2
            )
        return out


def load(job: Job, engine: Engine) -> dict[str, Any]:
    """Load the model; seconds, and bytes held before."""
    counted = machine.forget_peak()
    if not counted:
        job.log("the kernel does not count the peak anew: peak memory includes what came before the load", "warning")
    held = machine.memory("VmRSS")
    start = perf_counter()
    engine.load()
    return {
        "load_seconds": perf_counter() - start,
        "memory_before_load_bytes": held,
        "peak_since": "load" if counted else "start",
    }


def write(job: Job, asked: Asked, measured: Measured, found: dict[str, Any]) -> None:
    """benchmark.json, the metrics made of it, and what the record shall tell of the run."""
    runs = measured.runs
    body = found | {
        "asked": asdict(asked),
        "format": 1,
        "model": job.input_info("model").digest,
        "runs": [{"first": r.first, "steps": r.steps} for r in runs],
        "tokens": runs[0].tokens,
        "verified": {"type": job.input_info("verified").type, "digest": job.input_info("verified").digest},
        "warmup": [{"first": r.first, "steps": r.steps} for r in measured.warm],
    }
    metrics = figures(runs, asked.batch, asked.prompt)
    step = median(s for r in runs for s in r.steps)
    metrics |= gpu_figures.figures(found["gpu"], len(runs) * asked.batch * asked.tokens, step)
    for name, value in metrics.items():
        job.metric(name, value)
    job.metric("load_seconds", found["spent"]["load_seconds"])
    job.metric("peak_memory_bytes", found["spent"]["peak_memory_bytes"])
    job.metric("size_bytes", sum(found["sizes"].values()))
    job.metric("batch", asked.batch)
    text = json.dumps(body, indent=1, sort_keys=True, allow_nan=False)
    (job.output("result") / "benchmark.json").write_text(text + "\n", encoding="utf-8")
    job.observe("engine", found["engine"])
    job.observe("load", json.dumps(found["load"], sort_keys=True))
    job.observe("machine", json.dumps(found["machine"], sort_keys=True))
    job.observe("tokens", hashlib.sha256(json.dumps(body["tokens"]).encode()).hexdigest())
    if found["gpu"]:
        job.observe("gpu", json.dumps(found["gpu"], sort_keys=True))


if __name__ == "__main__":
    run(main)
