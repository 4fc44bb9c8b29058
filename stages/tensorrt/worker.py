"""A decoder graph as a TensorRT engine, and a look at what became of it."""

from __future__ import annotations

import faulthandler
import gc
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.llm.contract import Contract, read_contract
from lib.trt import description, inspect, limits, profiles, tactics
from lib.trt import look as looking
from lib.trt.build import Built, Wanted, build
from lib.trt.description import Description
from lib.trt.library import architecture, load, make_logger
from lib.trt.network import MODEL, Refused, Weights, parse, read_weights
from lib.trt.phases import Phase, show
from lib.trt.profiles import Profile
from tinfra_worker import BadInput, BadParam, Fault, Job, run

if TYPE_CHECKING:
    from types import ModuleType

LEFT = (MODEL, ".safetensors", ".safetensors.index.json")  # what an engine needs no more


@dataclass(frozen=True)
class Seen:
    """What was seen of one profile: its layers, microseconds of each, and the inspector's own words."""

    profile: Profile
    layers: list[inspect.Layer]
    times: dict[str, float]
    said: str


def main(job: Job) -> None:
    wanted = ask(job)
    before = read_choice(job)
    contract, weights = read_graph(job)
    check_context(wanted, contract)
    faulthandler.enable()  # a crash of the library says where
    trt = load()
    logger = make_logger(trt)
    built = make(job, wanted, trt, logger)
    write_log(job, logger, built.phases)
    with looking.Looking(job.output("engine"), job.workspace / "tmp") as witness:  # ready by the time that it is asked
        fill(job, wanted, trt, built)
        del built
        gc.collect()  # the graph's weights and the serialized engine, before the engine is loaded
        job.metric("weights_bytes_expected", weights.expected)
        job.progress(0, 1, "engine", "timing the layers")
        seen, missed = look(job, contract, wanted.profiles, witness)
    report(job, seen, missed + limits.find(logger.lines, seen[0].layers, weights, contract.dtype))
    choice = choose(job, wanted, seen)
    tactics.write(job.output("timing"), choice)
    changed = tactics.compare(before, choice) if before else None
    if changed is not None:
        job.metric("tactics_changed", changed)
    job.progress(1, 1, "engine", "timing the layers")


def ask(job: Job) -> Wanted:
    """What is to be built; :class:`BadParam`."""
    try:
        decode = [(whole(entry["batch"]), whole(entry["length"])) for entry in job.param("decode", list)]
        planned = profiles.plan(decode, job.param("prefill", int), job.param("score", int), job.param("spans", bool))
    except ValueError as e:
        raise BadParam("decode", f"decode cannot be built: {e}") from e
    timing = job.one_file("timing", tactics.CACHE).read_bytes() if job.has_input("timing") else b""
    return Wanted(planned, job.param("optimization", int), timing)


def read_choice(job: Job) -> tactics.Choice | None:
    """What was chosen when the timings that are given were taken."""
    if not job.has_input("timing"):
        return None
    try:
        return tactics.read(job.input("timing"))
    except ValueError as e:
        raise BadInput("timing", str(e)) from e


def whole(number: float) -> int:
    if number != int(number):
        raise ValueError(f"{number} is not a whole number")
    return int(number)


def read_graph(job: Job) -> tuple[Contract, Weights]:
    folder = job.input("model")
    try:
        contract = read_contract(folder)
        return contract, read_weights(folder, contract.dtype)
    except ValueError as e:
        raise BadInput("model", f"the graph cannot be built: {e}", "it must be of the kind onnx_decoder") from e


def check_context(wanted: Wanted, contract: Contract) -> None:
    """:class:`BadParam` for rows longer than the graph's tables of positions: the engine would read beyond them."""
    longest = max(profile.length[2] for profile in wanted.profiles)
    if longest > contract.context:
        raise BadParam("decode", f"decode has rows of {longest} tokens; the model has {contract.context} positions")


def make(job: Job, wanted: Wanted, trt: ModuleType, logger: Any) -> Built:
    job.progress(0, 1, "graph", "reading the graph")
    try:
        parsed = parse(trt, logger, job.input("model"))
        built = build(trt, logger, parsed, wanted, lambda phase, done, of: job.progress(done, of, "steps", phase))
    except Refused as e:
        raise BadInput("model", str(e)) from e
    job.metric("parse_seconds", parsed.seconds)
    job.metric("build_seconds", built.seconds)
    if wanted.timing and not built.reused:
        job.log("the timings given are of another GPU or TensorRT: all was timed anew", "warning")
    return built


def fill(job: Job, wanted: Wanted, trt: ModuleType, built: Built) -> None:
    """The outputs `engine` and `timing`."""
    import torch

    source, out = job.input("model"), job.output("engine")
    started = time.monotonic()
    with (out / description.PLAN).open("wb") as file:
        file.write(memoryview(built.plan))
    job.log(f"wrote the engine in {time.monotonic() - started:.1f} s")
    (job.output("timing") / tactics.CACHE).write_bytes(built.timing)
    job.metric("size_bytes", plan_size(job))
    for path in source.iterdir():
        if path.is_file() and not path.name.endswith(LEFT):
            shutil.copyfile(path, out / path.name)
    described = Description(trt.__version__, torch.cuda.get_device_name(), architecture(), wanted.profiles)
    description.write(out, described)
    job.label("tensorrt", described.version)
    job.label("gpu", described.gpu_name)
    job.label("fits.gpu.arch", described.gpu_arch)


def plan_size(job: Job) -> int:
    return (job.output("engine") / description.PLAN).stat().st_size


def look(
    job: Job, contract: Contract, planned: Sequence[Profile], witness: looking.Looking
) -> tuple[list[Seen], list[limits.Limit]]:
    """Run the engine as its users will, time a step of the first profile, and each layer of all; limits say what was
    missed. :class:`Fault` where the engine does not run.
    """
    looked = witness.look(planned, job.param("inspect", bool))
    if looked.dtype != contract.dtype:
        raise Fault(f"the engine computes in {looked.dtype}; the graph asks for {contract.dtype}")
    parts = ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in looked.seconds.items())
    job.log(f"looked at the engine in {looked.seconds.total():.1f} s: {parts}")
    job.metric("step_ms", 1000 * looked.found["step", 0])
    missed = [limits.Limit("error", looking.say(task, why, planned)) for task, why in looked.missed.items()]
    for limit in missed:
        job.log(limit.what, "warning")
    seen = []
    for number, at in enumerate(planned):
        times = looked.found.get(("times", number), {})
        said = inspect.select(looked.found.get(("said", 0), ""), times)
        seen.append(Seen(at, inspect.read_layers(said), times, said))
    if seen[0].times:
        job.metric("layers", len(seen[0].times))
    return seen, missed


def write_log(job: Job, logger: Any, phases: Sequence[Phase]) -> None:
    """build.log: seconds since the stage spoke to TensorRT first, and what it said or was at then."""
    said = [f"{at:8.1f} s {line}" for at, line in zip(logger.times, logger.lines, strict=False)]
    text = [*said, "", "Phases of the build: when each began, and what it took", *show(phases, logger.began)]
    (job.output("report") / "build.log").write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


def report(job: Job, seen: Sequence[Seen], found: Sequence[limits.Limit]) -> None:
    out = job.output("report")
    job.metric("fallbacks", limits.fallbacks(found))
    write_json(out / "limits.json", [asdict(limit) for limit in found])
    write_json(
        out / "layers.json", [{"profile": asdict(one.profile), "engine": json.loads(one.said or "{}")} for one in seen]
    )
    write_json(out / "profile.json", [{"profile": asdict(one.profile), "microseconds": one.times} for one in seen])
    parts = [inspect.markdown(str(one.profile), one.layers, one.times) for one in seen]
    told = [f"- {limit.kind}: {limit.what}\n" for limit in found]
    if not seen[0].layers:
        told.append("- not looked for: what only the kernels of layers show, which TensorRT did not tell\n")
    limited = "## Limits\n\n" + ("".join(told) or "None.\n")
    (out / "engine.md").write_text("\n".join(["# Layers of the engine\n", *parts, limited]), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def choose(job: Job, wanted: Wanted, seen: Sequence[Seen]) -> tactics.Choice:
    """What was chosen for each layer of each profile."""
    of = {
        "graph": job.input_info("model").digest,
        "profiles": profiles.encode(wanted.profiles),
        "optimization": wanted.optimization,
    }
    found: dict[str, str] = {}
    for number, one in enumerate(seen):
        found |= {f"{number} {name}": tactic for name, tactic in inspect.tactics(one.layers).items()}
    return tactics.Choice(of, found)


if __name__ == "__main__":
    run(main)
