"""Logits of a graph or an engine against those of the checkpoint that it came from, through the cache too."""

from __future__ import annotations

import json
from typing import Any

from lib.llm.checkpoint import check_model
from lib.llm.decoder import Feeder, Unfit
from lib.llm.model import open_model
from lib.onnx.graph import read_graph
from onnx_check.difference import Difference, NotFinite, measure
from onnx_check.rows import Shape, draw, through_cache, whole_rows
from tinfra_worker import BadInput, BadParam, Job, run

LIMIT = 1 << 31  # logits of one shape: what the reference gives is kept in memory until it is compared


def main(job: Job) -> None:
    shapes = read_shapes(job)
    if job.input_info("model").type == "model/onnx":
        check_graph(job)
    dtype = job.param("reference_dtype", str)
    model, reference = open_model(job, "model", dtype), open_model(job, "reference", dtype)
    if model.vocabulary != reference.vocabulary:
        raise BadInput(
            "reference",
            f"the model gives {model.vocabulary} logits for each token, the checkpoint {reference.vocabulary}",
            "give the checkpoint that the model was exported from",
        )
    check_sizes(shapes, model.vocabulary)
    check = Check(job, model, reference, sum(s.batch + 1 + s.steps for s in shapes))
    parts, told = [], []
    for index, shape in enumerate(shapes):
        prefill, decode = check.compare(shape, index)
        parts.append((prefill, decode))
        told.append({**vars(shape), "prefill": prefill.told(), "decode": decode.told()})
    report(job, parts, told, {"model": model.engine, "reference": reference.engine})


def read_shapes(job: Job) -> list[Shape]:
    """The param `shapes`, checked; :class:`BadParam` when one cannot be run."""
    most = check_model(job, "reference").get("max_position_embeddings")
    shapes = []
    for one in job.param("shapes", list):
        values = {name: one.get(name) for name in ("batch", "length", "steps")}
        if not all(isinstance(v, int) and v >= 1 for v in values.values()):
            raise BadParam("shapes", f"batch, length and steps must be whole numbers from 1, not {values}")
        shape = Shape(**values)
        if most and shape.tokens > most:
            raise BadParam("shapes", f"{values} has rows of more than the {most} tokens that the model takes")
        shapes.append(shape)
    if not shapes:
        raise BadParam("shapes", "no shape is given: nothing would be checked")
    return shapes


def check_sizes(shapes: list[Shape], vocabulary: int) -> None:
    for shape in shapes:
        if shape.batch * shape.tokens * vocabulary > LIMIT:
            raise BadParam(
                "shapes", f"{vars(shape)} has more than {LIMIT // vocabulary} tokens, of {vocabulary} logits"
            )


def check_graph(job: Job) -> None:
    """Refuse a folder that runs but is not what model/onnx promises."""
    folder = job.input("model")
    try:
        graph = read_graph(folder)
        graph.check_files(folder)
        graph.check_shapes()
        graph.layers()
    except ValueError as e:
        raise BadInput("model", f"the graph is not sound: {e}") from e


class Check:
    """Both models, and how many passes through either are done."""

    def __init__(self, job: Job, model: Feeder, reference: Feeder, passes: int) -> None:
        self.job, self.model, self.reference = job, model, reference
        self.passes, self.done = passes, 0
        # The cache of a model/onnx grows with all its rows alike.
        self.ragged = job.input_info("model").type != "model/onnx"
        self.only_last = job.param("prefill_logits", str) == "last"

    def compare(self, shape: Shape, index: int) -> tuple[Difference, Difference]:
        """The differences of one shape, in the prefill and after it."""
        ids = draw(shape, self.model.vocabulary, [self.job.param("seed", int), index])
        want = []
        for logits in whole_rows(self.reference, ids):
            want.append(logits)
            self._passed()
        prefill, decode = Difference(), Difference()
        try:
            for spans in through_cache(self.model, ids, shape, shape.ends(self.ragged), self.only_last):
                for span in spans:
                    found = measure(span.logits, want[span.row][span.begin : span.begin + len(span.logits)])
                    prefill, decode = (prefill + found, decode) if span.prefill else (prefill, decode + found)
                self._passed()
        except Unfit as e:
            raise BadParam("shapes", f"the model does not run {vars(shape)}: {e}") from e
        except NotFinite as e:
            raise BadInput(e.port, str(e)) from e
        return prefill, decode

    def _passed(self) -> None:
        self.done += 1
        self.job.progress(self.done, self.passes, "passes", "comparing logits")


def report(job: Job, parts: list[tuple[Difference, Difference]], told: list[Any], engines: dict[str, str]) -> None:
    """Metrics, and check.json, by which others know what was checked."""
    prefill, decode = (sum(some, Difference()) for some in zip(*parts, strict=True))
    both = (prefill + decode).told() | {"relative_difference": max(d.relative for pair in parts for d in pair)}
    positions = both.pop("positions")
    for name, value in both.items():
        job.metric(name, value)
    job.metric("prefill_max_difference", prefill.largest)
    job.metric("decode_max_difference", decode.largest)
    for port, engine in engines.items():
        job.observe(f"engine_{port}", engine)
    result = {
        "model": job.input_info("model").digest,
        "reference": job.input_info("reference").digest,
        "engine": engines,
        "seed": job.param("seed", int),
        "shapes": told,
        "positions": positions,
        **both,
    }
    path = job.output("result") / "check.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
