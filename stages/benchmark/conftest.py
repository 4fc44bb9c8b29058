"""The tiny model as a graph that onnxruntime-genai's own builder wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def graph(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a model/onnx folder of the tiny model; `precision` is the builder's, fp32 or int4."""
    made: dict[str, Path] = {}

    def make(precision: str = "fp32") -> Path:
        if precision not in made:
            root = tmp_path_factory.mktemp("graph")
            source, out = root / "source", root / "out"
            shutil.copytree(tiny / "model", source)
            shutil.copytree(tiny / "tokenizer", source, dirs_exist_ok=True)
            builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-e", "cpu", "-p", precision]
            more = ["--extra_options", "int4_block_size=32"] if precision == "int4" else []
            done = subprocess.run(
                [*builder, "-i", str(source), "-o", str(out), "-c", str(root / "cache"), *more],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-4000:]
            shutil.copyfile(source / "config.json", out / "config.json")
            made[precision] = out
        return made[precision]

    return make
