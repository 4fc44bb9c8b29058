"""One entry of a contest at one batch size, with the metrics of a benchmark."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from lib.gpu import figures as gpu_figures
from lib.speed.proof import short
from lib.speed.samples import Run, figures
from lib.speed.subject import read_object
from tinfra_worker import BadInput, BadParam, Job, run


def main(job: Job) -> None:
    name, batch = job.param("entry", str), job.param("batch", str)
    contest = read_object(job, "contest", "contest.json")
    try:
        write(job, contest, name, batch)
    except (KeyError, TypeError, IndexError) as e:
        raise BadInput("contest", f"contest.json does not tell {e}: it is not one of this version") from e


def write(job: Job, contest: dict[str, Any], name: str, asked: str) -> None:
    entry = contest["entries"].get(name)
    if entry is None:
        raise BadParam("entry", f"{name} took no part; {', '.join(sorted(contest['entries']))} did")
    check_model(job, name, entry)
    heat, ran = find(contest, name, asked)
    batch, prompt, tokens = heat["batch"], contest["asked"]["prompt"], contest["asked"]["tokens"]
    runs = [Run(r["first"], r["steps"], []) for r in ran["runs"]]
    gpu = ran["gpu"]
    if "copy_bytes_per_second" in contest["gpu"]:
        gpu |= {"copy_bytes_per_second": contest["gpu"]["copy_bytes_per_second"]}
    metrics = figures(runs, batch, prompt)
    step = median(s for r in runs for s in r.steps)
    metrics |= gpu_figures.figures(gpu, len(runs) * batch * tokens, step)
    metrics |= {"load_seconds": entry["load_seconds"], "size_bytes": sum(entry["sizes"].values()), "batch": batch}
    metrics["repeats"] = len(runs)
    if "peak_bytes" in gpu:
        metrics["peak_memory_bytes"] = gpu["peak_bytes"]
    for metric, value in metrics.items():
        job.metric(metric, value)
    body = {
        "asked": contest["asked"] | {"batch": batch},
        "contest": job.input_info("contest").digest,
        "entry": entry | {"name": name},
        "format": 1,
        "gpu": gpu,
        "model": entry["model"],
        "order": heat["order"],
        "runs": ran["runs"],
        "warmup": ran["warmup"],
    }
    text = json.dumps(body, indent=1, sort_keys=True, allow_nan=False)
    (job.output("result") / "benchmark.json").write_text(text + "\n", encoding="utf-8")
    job.observe("engine", entry["engine"])


def check_model(job: Job, name: str, entry: dict[str, Any]) -> None:
    """The model, where one is given, is the one that the entry ran."""
    if job.has_input("model") and job.input_info("model").digest != entry["model"]:
        given, ran = short(job.input_info("model").digest), short(entry["model"])
        raise BadInput("model", f"{name} ran another model: {ran}, and the one given is {given}")


def find(contest: dict[str, Any], name: str, asked: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The heat of a batch size, or of saturation, and what the entry did there."""
    if asked != "saturation":
        batch = int(asked)
    elif name in contest["saturation"]:
        batch = contest["saturation"][name]["batch"]
    else:
        raise BadParam("batch", f"{name} was not driven to saturation", "give a batch size that it ran at")
    for heat in contest["heats"]:
        if heat["batch"] == batch and name in heat["entries"]:
            return heat, heat["entries"][name]
        if heat["batch"] == batch and name in heat["out"]:
            raise BadParam("batch", f"{name} has no figure at batch {batch}: {heat['out'][name]}")
    ran = [str(heat["batch"]) for heat in contest["heats"] if name in heat["entries"]]
    raise BadParam("batch", f"{name} did not run at batch {batch}; it ran at {', '.join(ran)}")


if __name__ == "__main__":
    run(main)
