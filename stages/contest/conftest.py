"""Contests of decoders that are told what to answer and how long it takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import torch

from lib.llm.decoder import Made, Unfit
from tinfra_worker import Job

VOCABULARY = 300
DEFAULTS = {
    "batches": [1, 2],
    "only": {},
    "prompt": 5,
    "tokens": 4,
    "warmup": 1,
    "repeats": 3,
    "seed": 3,
    "saturation": 0,
    "tolerance": 0.25,
    "limit_seconds": 0,
}


class Told:
    """A decoder whose step takes `step` seconds at any batch up to `fits`, beyond which memory is full.

    Its logits like `token` best; `largest` is the batch that it was built for.
    """

    vocabulary, dtype, device, weight_bytes = VOCABULARY, "float32", torch.device("cpu"), 1000

    def __init__(
        self, engine: str, step: float = 0.1, token: int = 7, fits: int = 1 << 20, largest: int = 1 << 20
    ) -> None:
        self.engine, self.step, self.token, self.fits, self.largest = engine, step, token, fits, largest
        self.opened: list[tuple[int, int]] = []
        self.calls: list[int] = []  # batches of each generate
        self.on_generate: Callable[[], None] = lambda: None

    def open(self, batch: int, length: int) -> None:
        if batch > self.largest:
            raise Unfit(f"built for {self.largest} rows")
        if batch > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB")
        self.opened.append((batch, length))

    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        assert rows.tolist() == [ids.shape[1] - 1]
        logits = torch.linspace(0, 1, VOCABULARY).repeat(len(ids), 1, 1)
        logits[:, :, self.token] = 20
        return logits

    def generate(self, ids: torch.Tensor, tokens: int, bar: torch.Tensor) -> Made:
        assert self.opened[-1] == (len(ids), ids.shape[1] + tokens)
        self.calls.append(len(ids))
        self.on_generate()
        return Made(torch.full((len(ids), tokens), self.token), 2 * self.step, [self.step] * (tokens - 1))

    def rewind(self, length: int = 0) -> None:
        pass


@pytest.fixture
def told() -> type[Told]:
    return Told


@pytest.fixture
def space(workspace: Callable[..., Any], tiny: Path, tmp_path: Path) -> Callable[..., Any]:
    """Makes a contest's workspace: `models` are folders by key, `entries` are (name, model, backend)."""

    def make(
        entries: list[tuple[str, str, str]], models: dict[str, Path] | None = None, kind: str = "contest", **params: Any
    ) -> Any:
        made = workspace(kind)
        named = [dict(zip(("name", "model", "backend", "dtype"), (*e, "float32"), strict=True)) for e in entries]
        made.request["params"] = DEFAULTS | {"entries": named} | params
        made.request["outputs"] = {"result": "result/contest"}
        for port in ("models", "verified"):
            (made.root / "in" / port).mkdir()
        for key, folder in (models or {"base": tiny / "model"}).items():
            form = "engine/tensorrt" if (folder / "engine.plan").exists() else "model/hf"
            give(made, f"models[{key}]", folder, form)
            prove(made, key, made.request["inputs"][f"models[{key}]"]["digest"])
        return made

    return make


def give(made: Any, port: str, folder: Path, kind: str) -> None:
    """An input of a map lies in a folder of its key."""
    path = port.replace("[", "/").rstrip("]")
    made.add_input(path, folder, kind)
    made.request["inputs"][port] = made.request["inputs"].pop(path)


def prove(made: Any, key: str, digest: str | None) -> None:
    """A check that names a model."""
    folder = made.root / f"proof of {key}"
    folder.mkdir(exist_ok=True)
    (folder / "check.json").write_text(json.dumps({"model": digest}))
    (made.root / "in" / "verified" / key).unlink(missing_ok=True)
    give(made, f"verified[{key}]", folder, "result/check")


@pytest.fixture
def prover() -> Callable[..., None]:
    return prove


@pytest.fixture
def other_model(tiny: Path, tmp_path: Path) -> Path:
    """The same model with other bytes beside it, so that it has another digest."""
    folder = tmp_path / "other"
    shutil.copytree(tiny / "model", folder)
    (folder / "note.txt").write_text("another")
    return folder


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Job, dict[str, Any]]]:
    """Runs a contest in this process with the decoders given by backend; what it wrote."""
    from contest.worker import main

    monkeypatch.setattr("lib.speed.machine.PROBE", 0.01)

    def run(
        made: Any, decoders: dict[str, Told], nvml: Any = None, clock: Callable[[], float] = monotonic
    ) -> tuple[Job, dict[str, Any]]:
        job = made.job()
        main(job, lambda _folder, backend, _dtype: decoders[backend], nvml, clock)
        return job, json.loads((made.out("result") / "contest.json").read_text())

    return run
