"""Logits of a graph against those of the checkpoint that it came from, through the cache too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.llm.checkpoint import check_model
from lib.llm.runner import Runner, open_runner
from lib.onnx.graph import read_graph
from tinfra_worker import BadInput, BadParam, Job, run

if TYPE_CHECKING:
    import numpy as np

LIMIT = 1 << 16  # tokens of one shape; more would be a mistake of the recipe


@dataclass(frozen=True)
class Shape:
    """Rows at once, tokens of the prefill and tokens after it."""

    batch: int
    length: int
    steps: int


@dataclass(frozen=True)
class Difference:
    """What logits differ by; the sums are kept, so that differences add up."""

    largest: float = 0.0
    total: float = 0.0
    logits: int = 0
    same: int = 0
    positions: int = 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            max(self.largest, other.largest),
            self.total + other.total,
            self.logits + other.logits,
            self.same + other.same,
            self.positions + other.positions,
        )

    def told(self) -> dict[str, float]:
        return {
            "max_difference": self.largest,
            "mean_difference": self.total / max(self.logits, 1),
            "same_top1": self.same / max(self.positions, 1),
        }


class Progress:
    """Counts passes through either model."""

    def __init__(self, job: Job, total: int) -> None:
        self.job, self.total, self.done = job, total, 0

    def step(self) -> None:
        self.done += 1
        self.job.progress(self.done, self.total, "passes", "comparing logits")


def main(job: Job) -> None:
    shapes = read_shapes(job)
    check_graph(job)
    graph, reference = open_runner(job, "model"), open_runner(job, "reference", "float32")
    if graph.vocabulary != reference.vocabulary:
        raise BadInput(
            "reference",
            f"the graph gives {graph.vocabulary} logits for each token, the checkpoint {reference.vocabulary}",
            "give the checkpoint that the graph was exported from",
        )
    progress = Progress(job, sum(s.steps + 2 for s in shapes))
    prefill, decode, told = Difference(), Difference(), []
    for index, shape in enumerate(shapes):
        ids = draw(shape, graph.vocabulary, [job.param("seed", int), index])
        want, _ = reference.forward(ids)
        progress.step()
        got = through_cache(graph, ids, shape.length, progress)
        parts = [measure(got[:, s], want[:, s]) for s in (slice(shape.length), slice(shape.length, None))]
        told.append({**vars(shape), "prefill": parts[0].told(), "decode": parts[1].told()})
        prefill, decode = prefill + parts[0], decode + parts[1]
    report(job, prefill, decode, told, {"model": graph.engine, "reference": reference.engine})


def read_shapes(job: Job) -> list[Shape]:
    """The param `shapes`, checked; :class:`BadParam` when one cannot be run."""
    most = check_model(job, "reference").get("max_position_embeddings") or LIMIT
    shapes = []
    for one in job.param("shapes", list):
        values = {name: one.get(name) for name in ("batch", "length", "steps")}
        if not all(isinstance(v, int) and v >= 1 for v in values.values()):
            raise BadParam("shapes", f"batch, length and steps must be whole numbers from 1, not {values}")
        shape = Shape(**values)
        if shape.batch * (shape.length + shape.steps) > LIMIT:
            raise BadParam("shapes", f"{values} has more than {LIMIT} tokens")
        if shape.length + shape.steps > most:
            raise BadParam("shapes", f"{values} has rows of more than the {most} tokens that the model takes")
        shapes.append(shape)
    if not shapes:
        raise BadParam("shapes", "no shape is given: nothing would be checked")
    return shapes


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


def draw(shape: Shape, vocabulary: int, seed: list[int]) -> np.ndarray:
    """Token ids, int64 [batch, length + steps]."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.integers(0, vocabulary, (shape.batch, shape.length + shape.steps), dtype=np.int64)


def through_cache(graph: Runner, ids: np.ndarray, length: int, progress: Progress) -> np.ndarray:
    """Logits of all ids, float32 [batch, ids, vocabulary]: a prefill of `length`, then one token at a time."""
    import numpy as np

    pieces, past = [], None
    for part in [ids[:, :length], *np.split(ids[:, length:], ids.shape[1] - length, axis=1)]:
        logits, past = graph.forward(part, past)
        pieces.append(logits)
        progress.step()
    return np.concatenate(pieces, axis=1)


def measure(got: np.ndarray, want: np.ndarray) -> Difference:
    """The difference of logits, float32 [batch, length, vocabulary]; not a number counts as the input's fault."""
    import numpy as np

    for port, logits in (("model", got), ("reference", want)):
        if not np.isfinite(logits).all():
            raise BadInput(port, f"the {port} gives logits that are no finite numbers: its weights are broken")
    gap = np.abs(got - want)
    same = int((got.argmax(-1) == want.argmax(-1)).sum())
    return Difference(float(gap.max()), float(gap.sum(dtype=np.float64)), gap.size, same, gap.shape[0] * gap.shape[1])


def report(job: Job, prefill: Difference, decode: Difference, told: list[Any], engines: dict[str, str]) -> None:
    """Metrics, and check.json, by which others know what was checked."""
    both = prefill + decode
    for name, value in both.told().items():
        job.metric(name, value)
    job.metric("prefill_max_difference", prefill.largest)
    job.metric("decode_max_difference", decode.largest)
    for port, engine in engines.items():
        job.observe(f"engine_{port}", engine)
    result = {
        "model": job.input_info("model").digest,
        "reference": job.input_info("reference").digest,
        "seed": job.param("seed", int),
        "shapes": told,
        **both.told(),
    }
    path = job.output("result") / "check.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
