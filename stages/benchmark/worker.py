"""Speed of generation: one engine, one model, one batch size, one process."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmark import machine, reference
from benchmark.asked import Asked, Model, read_model, read_params
from benchmark.engine import Engine, make_engine
from benchmark.prompt import check_ports, describe, make_prompt
from benchmark.proof import check_proof
from benchmark.rounds import Rounds
from benchmark.samples import Run, figures
from tinfra_worker import Job, run

WEIGHTS = {".safetensors", ".onnx", ".data"}  # suffixes of graph and weights


def main(job: Job) -> None:
    # The SDK has threads sleep between two operations; alone on the machine they may spin, as they do by default.
    os.environ.pop("OMP_WAIT_POLICY", None)
    check_proof(job)
    asked = read_params(job)
    model = read_model(job, asked)
    check_ports(job)
    before = look_around(job)
    job.log("computing the reference")
    truth = reference.compute(job, asked, model)
    engine = make_engine(job, asked, model)
    prompt = make_prompt(job, asked, model)
    spent = load(job, engine)
    job.log(
        f"{engine.name}: {asked.warmup} + {asked.repeats} runs of {asked.batch} × ({asked.prompt} + {asked.tokens})"
    )
    first = engine.first_logits(prompt)
    agreed = reference.compare(truth, first, model.approximate)
    warm, runs, during = Rounds(engine, prompt, asked, first, model.approximate).measure(job)
    spent["peak_memory_bytes"] = machine.memory("VmHWM")
    if (device := engine.device_peak()) is not None:
        spent |= {"host_peak_memory_bytes": spent["peak_memory_bytes"], "peak_memory_bytes": device}
    write(job, asked, {
        "check": {"reference": truth.engine, "approximate": model.approximate, **agreed},
        "engine": engine.name,
        "load": {"before": before, "during": during},
        "machine": machine.describe(),
        "prompt": describe(job, asked, prompt),
        "runs": [{"first": r.first, "steps": r.steps} for r in runs],
        "sizes": sizes(model),
        "spent": spent,
        "tokens": runs[0].tokens,
        "versions": engine.versions,
        "warmup": [{"first": r.first, "steps": r.steps} for r in warm],
    }, runs)  # fmt: skip


def look_around(job: Job) -> dict[str, float]:
    """What the machine did before anything began, with a warning where it was not idle."""
    found, busy = machine.probe()
    if found["others"] > machine.QUIET:
        who = f": {', '.join(busy)}" if busy else ""
        job.log(f"the machine is not idle: others use {found['others']} cores{who}; the figures will suffer", "warning")
    return found


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


def sizes(model: Model) -> dict[str, int]:
    """Bytes of each file of graph or weights, by its path in the model."""
    return {
        p.relative_to(model.folder).as_posix(): p.stat().st_size
        for p in sorted(Path(model.folder).rglob("*"))
        if p.suffix in WEIGHTS and p.is_file()
    }


def write(job: Job, asked: Asked, found: dict[str, Any], runs: list[Run]) -> None:
    """benchmark.json, the metrics made of it, and what the record shall tell of the run."""
    body = found | {
        "asked": asdict(asked),
        "format": 1,
        "model": job.input_info("model").digest,
        "verified": {"type": job.input_info("verified").type, "digest": job.input_info("verified").digest},
    }
    for name, value in figures(runs, asked.batch, asked.prompt).items():
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
    job.observe("tokens", hashlib.sha256(json.dumps(found["tokens"]).encode()).hexdigest())


if __name__ == "__main__":
    run(main)
