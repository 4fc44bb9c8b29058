"""Contests on the GPU: pytest -m gpu stages/contest."""

import json

import pytest

pytestmark = pytest.mark.gpu
THREE = [("plain", "base", "generate"), ("static", "base", "generate_static"), ("ours", "base", "steady")]


def result(made):
    done = made.run()
    assert done.code == 0, done.said
    return done, json.loads((made.out("result") / "contest.json").read_text())


def bfloat16(made):
    for entry in made.request["params"]["entries"]:
        entry["dtype"] = "bfloat16"
    made.request["resources"]["cpus"] = 4
    return made


def test_backends_of_a_checkpoint(space):
    done, said = result(bfloat16(space(THREE, batches=[1, 4], tokens=64, saturation=8)))
    # A toy's weights are less than a page of theirs.
    assert said["entries"]["static"]["shares_weights_of"] in ("plain", "")
    assert done.metrics["copy_bytes_per_second"] > 1e11
    assert [h["batch"] for h in said["heats"]] == [1, 4, 8], said["saturation"]
    assert not any(h["out"] for h in said["heats"]), [h["out"] for h in said["heats"]]
    assert sorted(said["heats"][2]["entries"]) == ["ours"]
    assert said["saturation"]["ours"]["batch"] in (4, 8)
    for heat in said["heats"]:
        for ran in heat["entries"].values():
            assert "peak_bytes" in ran["gpu"]  # what others hold and give back meanwhile counts too
            assert ran["gpu"]["bytes_per_step"] > 0
            assert all(min(r["steps"]) > 0 for r in ran["runs"])
    assert done.metrics["gpu_clock_mhz"] > 100
    assert "gpu_idle" in done.metrics


def test_an_engine_beside_its_checkpoint(space, tiny, tiny_engine):
    entries = [("plain", "base", "generate"), ("trt", "engine", "tensorrt")]
    made = space(entries, {"base": tiny / "model", "engine": tiny_engine}, batches=[1, 4], tokens=32)
    for entry in made.request["params"]["entries"]:
        entry["dtype"] = "float16"
    _, said = result(made)
    assert [sorted(h["entries"]) for h in said["heats"]] == [["plain", "trt"]] * 2, [h["out"] for h in said["heats"]]
    assert said["entries"]["trt"]["check"] == {"reference": "verified"}
    assert said["entries"]["trt"]["type"] == "engine/tensorrt"


def test_a_stopped_contest_gives_the_gpu_back(space):
    made = bfloat16(space(THREE[::2], repeats=1000, tokens=200))
    done = made.cancel_at(lambda events: any(e.get("what") == "batch 1" and e["done"] for e in events))
    assert done.code == 143, done.said
    assert list(made.out("result").iterdir()) == []
