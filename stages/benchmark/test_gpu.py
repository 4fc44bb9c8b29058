"""Backends on the GPU: pytest -m gpu stages/benchmark."""

import json

import pytest

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("backend", ["generate", "generate_static", "steady"])
def test_a_backend_of_a_checkpoint(workspace, tiny, tmp_path, backend):
    made = workspace()
    made.request["params"] = {
        "batch": 2, "prompt": 9, "tokens": 64, "warmup": 1, "repeats": 3, "seed": 3, "threads": 1, "device": "gpu",
        "dtype": "bfloat16", "backend": backend,
    }  # fmt: skip
    made.add_input("model", tiny / "model", "model/hf")
    made.request["outputs"] = {"result": "result/benchmark"}
    (tmp_path / "proof").mkdir()
    (tmp_path / "proof" / "check.json").write_text(json.dumps({"model": made.request["inputs"]["model"]["digest"]}))
    made.add_input("verified", tmp_path / "proof", "result/check")
    done = made.run()
    assert done.code == 0, done.said
    m = done.metrics
    assert m["peak_memory_bytes"] > 0
    assert "gpu_peak_bytes" in m  # what others hold and give back meanwhile counts too
    assert m["bytes_per_step"] > 0
    assert 0 < m["roofline_share"] < 1, m
    assert m["gpu_clock_mhz"] > 100
    assert m["throttled"] in (0, 1)
    said = json.loads((made.out("result") / "benchmark.json").read_text())
    assert said["gpu"]["idle"]["waited_seconds"] <= 5
    assert said["check"]["max_difference"] >= 0
