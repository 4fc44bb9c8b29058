"""A real workspace for the tests of workers: request.json in, a worker process, result.json out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tinfra_worker import Job
from tinfra_worker.event import Writer
from tinfra_worker.request import decode

STAGES = Path(__file__).resolve().parent
# What a worker on a GPU is given besides: the machine's libraries and tools, and the caches of compilers.
GPU_VARIABLES = (
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "HUMMING_CACHE_DIR",
)


@dataclass
class Outcome:
    """What a worker process left behind."""

    code: int
    result: dict[str, Any] | None
    events: list[dict[str, Any]]
    stderr: str

    @property
    def problem(self) -> dict[str, Any]:
        """The only problem that was told."""
        (found,) = [e for e in self.events if e["type"] == "problem"]
        return found

    @property
    def said(self) -> str:
        """The problems that were told, and the end of stderr: what a failing test is to show."""
        told = [e.get("message", "") for e in self.events if e["type"] == "problem"]
        return "\n".join([f"exit code {self.code}", *told, self.stderr[-4000:]])

    @property
    def metrics(self) -> dict[str, float]:
        assert self.result is not None, self.stderr[-4000:]
        return self.result["metrics"]


class Workspace:
    """One attempt's folder. Inputs are folders that are copied by link, as the core lays them.

    On a GPU the worker sees the first one of the machine, and the distributions that PYTHONPATH names; those a worker
    without one sees too, in a test that is meant for a GPU.
    """

    def __init__(self, root: Path, kind: str, gpu: bool = False) -> None:
        self.root = root
        self.gpu = gpu
        named = os.environ.get("PYTHONPATH") if gpu else None
        self.python_path = ":".join(filter(None, [str(STAGES / "sdk"), str(STAGES), named]))
        self.worker = STAGES / kind / "worker.py"
        self.request: dict[str, Any] = {
            "protocol": 1,
            "kind": kind,
            "params": {},
            "inputs": {},
            "outputs": {},
            "resources": {"cpus": 1, "memory_gib": 2, **({"gpus": ["0"]} if gpu else {})},
        }
        for name in ("in", "out", "tmp", "home"):
            (root / name).mkdir(parents=True)

    def out(self, port: str) -> Path:
        return self.root / "out" / port

    def fill(self, done: Outcome) -> None:
        """Put the files that the worker reused into its outputs, where whoever is given them finds them."""
        assert done.result is not None, done.stderr[-4000:]
        for to, source in done.result.get("reused", {}).items():
            port, path = source.split("/", 1)
            place = self.root / "out" / to
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to((self.root / self.request["inputs"][port]["path"] / path).resolve())

    def add_input(self, port: str, folder: Path, kind: str, labels: Mapping[str, str] | None = None) -> None:
        """Give a folder to an input port; its digest is one of paths and bytes."""
        (self.root / "in" / port).symlink_to(folder, target_is_directory=True)
        self.request["inputs"][port] = {
            "path": f"in/{port}",
            "type": kind,
            "digest": "sha256:" + tree_digest(folder),
            "labels": dict(labels or {}),
        }

    def job(self) -> Job:
        """The job that the worker would be given, to call its functions in this process."""
        for port in self.request["outputs"]:
            self.out(port).mkdir(exist_ok=True)
        return Job(self.root, decode(json.dumps(self.request)), Writer(self.root / "events.jsonl"))

    def start(self, env: Mapping[str, str] | None = None, request: bytes | None = None) -> subprocess.Popen[str]:
        """Start the worker as the core would: own process group, cleaned environment, stdout to files."""
        (self.root / "request.json").write_bytes(request if request is not None else json.dumps(self.request).encode())
        for port in self.request["outputs"]:
            self.out(port).mkdir(exist_ok=True)
        with (self.root / "stdout").open("w") as out, (self.root / "stderr").open("w") as err:
            return subprocess.Popen(
                [sys.executable, "-P", "-s", str(self.worker)],
                cwd=self.root,
                env=self.environment() | dict(env or {}),
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )

    def environment(self) -> dict[str, str]:
        """The worker's variables."""
        given = {name: os.environ[name] for name in GPU_VARIABLES if name in os.environ}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": self.python_path,
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TINFRA_WORKSPACE": str(self.root),
            **({"CUDA_VISIBLE_DEVICES": "0", **given} if self.gpu else {}),
        }

    def outcome(self, process: subprocess.Popen[str]) -> Outcome:
        code = process.wait(timeout=300)
        result = self.root / "result.json"
        return Outcome(
            code,
            json.loads(result.read_text()) if result.exists() else None,
            self.events(),
            (self.root / "stderr").read_text(),
        )

    def run(self, env: Mapping[str, str] | None = None, request: bytes | None = None) -> Outcome:
        return self.outcome(self.start(env, request))

    def events(self) -> list[dict[str, Any]]:
        path = self.root / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def cancel_at(self, ready: Callable[[list[dict[str, Any]]], bool], env: Mapping[str, str] | None = None) -> Outcome:
        """Send SIGTERM once the worker's events say that it is at work, and give it the 20 s that the core gives."""
        process = self.start(env)
        try:
            self._await(process, lambda: ready(self.events()))
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=20)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self.outcome(process)

    def kill_at(self, ready: Callable[[], bool]) -> None:
        """Send SIGKILL to the worker and all that it started, once it has got far enough."""
        process = self.start()
        try:
            self._await(process, ready)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode == -signal.SIGKILL, "the worker had ended by itself"

    def _await(self, process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not ready():
            assert process.poll() is None, (self.root / "stderr").read_text()
            assert time.monotonic() < deadline, "the worker never got to work"
            time.sleep(0.01)


def tree_digest(folder: Path) -> str:
    """A digest of all paths and bytes below a folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Workspace]:
    """Makes workspaces for the kind whose folder the test stands in; on the GPU for tests that are marked so."""
    made = 0
    gpu = request.node.get_closest_marker("gpu") is not None

    def make(kind: str = "") -> Workspace:
        nonlocal made
        made += 1
        return Workspace(tmp_path / f"work{made}", kind or request.path.parent.name, gpu)

    return make


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Workspace]:
    """Makes workspaces of a kind on the GPU, for what many tests ask of and takes long to make."""
    return lambda kind: Workspace(tmp_path_factory.mktemp(kind) / "work", kind, gpu=True)


@pytest.fixture
def read_tree() -> Callable[[Path], dict[str, bytes]]:
    return tree


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic model, its tokenizer and a text, made once by the `synthetic` worker: out/{model,tokenizer,text}."""
    space = Workspace(tmp_path_factory.mktemp("tiny") / "work", "synthetic")
    space.request["params"] = {
        "seed": 7,
        "shape": "toy",
        "hidden": 32,
        "layers": 2,
        "heads": 2,
        "kv_heads": 1,
        "intermediate": 64,
        "vocab": 300,
        "context": 256,
        "tie_embeddings": False,
        "dtype": "float32",
        "text_bytes": 20000,
    }
    space.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf", "text": "dataset/text"}
    done = space.run()
    assert done.code == 0, done.stderr
    return space.root / "out"


@pytest.fixture(scope="session")
def tiny_graph(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic model as a model/onnx folder, made by onnxruntime-genai's own builder."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    source, target = tmp_path_factory.mktemp("graph_source"), tmp_path_factory.mktemp("graph")
    for folder in (tiny / "model", tiny / "tokenizer"):
        shutil.copytree(folder, source, dirs_exist_ok=True)
    asked = (None, str(source), str(target), "fp32", "cpu", str(tmp_path_factory.mktemp("graph_cache")))
    create_model(*asked, **parse_extra_options(*asked, []))
    return target


@pytest.fixture(scope="session")
def graph_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a model/onnx-decoder folder of a checkpoint, by `onnx_decoder` in this process."""

    def make(model: Path, dtype: str = "float32") -> Path:
        from onnx_decoder import worker

        space = Workspace(tmp_path_factory.mktemp("graph_of") / "work", "onnx_decoder")
        space.request["params"] = {"dtype": dtype, "accumulate": "float32"}
        space.add_input("model", model, "model/hf")
        space.request["outputs"] = {"model": "model/onnx-decoder"}
        job = space.job()
        worker.main(job)
        for to, source in job.result.reused.items():
            os.link((space.root / "in" / source).resolve(), space.root / "out" / to)
        return space.out("model")

    return make


@pytest.fixture(scope="session")
def tiny_engine(tiny: Path, graph_of: Callable[..., Path], lasting: Callable[[str], Workspace]) -> Path:
    """The synthetic model as an engine in float16: steps of 1 and 4 rows of 64 tokens, prompts in passes of 32, all
    logits of up to 64.
    """
    space = lasting("tensorrt")
    space.request["params"] = {
        "decode": [{"batch": batch, "length": 64} for batch in (1, 4)],
        "spans": False,
        "inspect": False,
        "prefill": 32,
        "score": 64,
        "optimization": 1,  # quicker to build, by half a minute
    }
    space.add_input("model", graph_of(tiny / "model", "float16"), "model/onnx-decoder")
    space.request["outputs"] = {"engine": "engine/tensorrt", "timing": "engine/timing", "report": "result/engine"}
    done = space.run()
    assert done.code == 0, done.said
    return space.out("engine")


@pytest.fixture(scope="session")
def pack() -> Callable[..., Path]:
    """Rounds a checkpoint to 4 bits into a folder: `groups` by the layers that they are for, all but `ignore`."""

    def make(source: Path, folder: Path, groups: dict[str, int], symmetric: bool, ignore: tuple[str, ...]) -> Path:
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
        from llmcompressor import oneshot
        from llmcompressor.modifiers.quantization import QuantizationModifier
        from transformers import AutoModelForCausalLM

        loaded = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
        schemes = {
            f"group_{n}": QuantizationScheme(
                targets=[target],
                weights=QuantizationArgs(
                    num_bits=4, type="int", symmetric=symmetric, strategy="group", group_size=size
                ),
            )
            for n, (target, size) in enumerate(groups.items())
        }
        modifier = QuantizationModifier(config_groups=schemes, ignore=list(ignore))
        oneshot(model=loaded, recipe=[modifier], tie_word_embeddings="lm_head" in ignore)
        loaded.save_pretrained(folder, save_compressed=True)
        return folder

    return make
