"""contest.json: every run of every entry, and what the machine was like meanwhile."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from contest.asked import Asked
from lib.gpu.granted import Granted
from lib.gpu.meter import told
from lib.gpu.roofline import ITEM, step_bytes
from lib.speed import machine
from lib.speed.subject import sizes
from tinfra_worker import Job

if TYPE_CHECKING:
    from contest.entrant import Entrant
    from contest.heat import Heat
    from lib.speed.samples import Run


@dataclass(frozen=True)
class Contest:
    """Who took part, how far their logits were from the reference's, what came of each batch size, where saturation
    ended; cores that others used; bytes a second of a copy on the GPU, and bytes free there before any load.
    """

    asked: Asked
    entrants: list[Entrant]
    checks: dict[str, dict[str, Any]]
    heats: list[Heat]
    ends: dict[str, dict[str, Any]]
    during: dict[str, float]
    bandwidth: float | None
    free: int | None


def write(job: Job, found: Contest, load: dict[str, Any], gpu: Granted) -> None:
    """contest.json, the metrics made of it, and what the record shall tell."""
    import torch

    warn(job, found)
    readings = [r for heat in found.heats for all_of in heat.readings.values() for r in all_of]
    whole = gpu.told | told(readings)
    if found.bandwidth is not None:
        whole |= {"copy_bytes_per_second": found.bandwidth, "free_bytes_before": found.free}
    load |= {"during": found.during}
    body = {
        "asked": asdict(found.asked),
        "entries": {e.entry.name: _entry(job, e, found.checks) for e in found.entrants},
        "format": 1,
        "gpu": whole,
        "heats": [_heat(found, heat) for heat in found.heats],
        "load": load,
        "machine": machine.describe(),
        "saturation": found.ends,
        "versions": {"torch": torch.__version__},
    }
    text = json.dumps(body, indent=1, sort_keys=True, allow_nan=False)
    (job.output("result") / "contest.json").write_text(text + "\n", encoding="utf-8")
    for name, value in metrics(found, whole).items():
        job.metric(name, value)
    for name in ("gpu", "load", "machine"):
        job.observe(name, json.dumps(body[name], sort_keys=True))
    job.observe("engines", json.dumps({e.entry.name: e.decoder.engine for e in found.entrants}, sort_keys=True))


def warn(job: Job, found: Contest) -> None:
    """Whatever is less than what was asked for."""
    asked = found.asked.repeats
    for name, end in found.ends.items():
        if end["ended"].startswith("error"):
            job.log(f"{name}: saturation ended by an {end['ended']}", "warning")
    for heat in found.heats:
        if len(heat.order) < asked and heat.runs:
            job.log(f"limit_seconds: {len(heat.order)} of {asked} rounds at batch {heat.batch}", "warning")
        for name, runs in heat.runs.items():
            if any(r.tokens != runs[0].tokens for r in runs):
                job.log(f"{name}: the runs of batch {heat.batch} did not all choose the same tokens", "warning")


def metrics(found: Contest, gpu: dict[str, Any]) -> dict[str, float]:
    """By their names in stage.hcl."""
    asked = [heat for heat in found.heats if heat.batch in found.asked.batches]
    out: dict[str, float] = {"entries": len(found.entrants), "repeats": min(len(heat.order) for heat in asked)}
    names = {"sm_mhz": "gpu_clock_mhz", "celsius": "gpu_temperature_c", "copy_bytes_per_second": ""}
    for name, metric in names.items():
        if name in gpu:
            out[metric or name] = gpu[name]
    if "slowed" in gpu:
        out["throttled"] = int(bool(gpu["slowed"]))
    if "idle" in gpu:
        out["gpu_idle"] = int(not gpu["idle"]["trouble"])
    return out


def _entry(job: Job, one: Entrant, checks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    model, proof = (job.input_info(f"{port}[{one.entry.model}]") for port in ("models", "verified"))
    return {
        "backend": one.entry.backend,
        "check": checks[one.entry.name],
        "dtype": one.decoder.dtype,
        "engine": one.decoder.engine,
        "load_bytes": one.load_bytes,
        "load_seconds": one.load_seconds,
        "model": model.digest,
        "shares_weights_of": one.shares,
        "sizes": sizes(one.subject.folder),
        "type": model.type,
        "verified": {"type": proof.type, "digest": proof.digest},
        "weight_bytes": one.decoder.weight_bytes,
    }


def _heat(found: Contest, heat: Heat) -> dict[str, Any]:
    by_name = {e.entry.name: e for e in found.entrants}
    return {
        "batch": heat.batch,
        "entries": {name: _ran(found, heat, by_name[name]) for name in heat.runs},
        "order": heat.order,
        "out": heat.out,
        "preparation_seconds": heat.preparation,
        "seconds": heat.seconds,
    }


def _ran(found: Contest, heat: Heat, one: Entrant) -> dict[str, Any]:
    name, asked = one.entry.name, found.asked
    gpu = told(heat.readings[name])
    if name in heat.peaks:
        gpu["peak_bytes"] = heat.peaks[name]
    if found.bandwidth is not None and one.decoder.weight_bytes and one.subject.cached:
        cached = one.subject.cached * ITEM[one.decoder.dtype]
        gpu["bytes_per_step"] = step_bytes(
            one.decoder.weight_bytes, cached, heat.batch, asked.prompt + asked.tokens / 2
        )
    return {
        "gpu": gpu,
        "runs": [_times(r) for r in heat.runs[name]],
        "tokens": [_digest(r) for r in heat.runs[name]],
        "warmup": [_times(r) for r in heat.warm[name]],
    }


def _times(run: Run) -> dict[str, Any]:
    return {"first": run.first, "steps": run.steps}


def _digest(run: Run) -> str:
    """Of the tokens that a run chose."""
    return hashlib.sha256(json.dumps(run.tokens).encode()).hexdigest()
