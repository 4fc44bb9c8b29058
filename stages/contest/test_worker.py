"""Contests of real decoders, on the CPU."""

import json

import pytest

from lib.gpu.conftest import FakeNvml

TWO = [("plain", "base", "generate"), ("ours", "base", "steady")]


def test_two_engines_on_the_cpu(space):
    made = space(TWO, repeats=2)
    done = made.run()
    assert done.code == 0, (done.events, done.stderr)
    assert done.metrics == {"entries": 2, "repeats": 2}
    said = json.loads((made.out("result") / "contest.json").read_text())
    assert said["asked"]["prompt"] == 5
    assert said["entries"]["plain"]["engine"].startswith("transformers ")
    assert said["entries"]["ours"]["engine"].startswith("tinfra steady ")
    assert said["entries"]["ours"]["check"]["relative_difference"] < 1e-5
    assert [h["order"] for h in said["heats"]] == [[["plain", "ours"], ["ours", "plain"]]] * 2
    for heat in said["heats"]:
        tokens = {t for ran in heat["entries"].values() for t in ran["tokens"]}
        assert len(tokens) == 1  # both choose the same, each time
        for ran in heat["entries"].values():
            assert [len(r["steps"]) for r in ran["runs"]] == [3, 3]
            assert all(r["first"] > 0 and min(r["steps"]) > 0 for r in ran["runs"] + ran["warmup"])
            assert ran["gpu"] == {}
    assert str(made.root) not in json.dumps(said)
    assert json.loads(done.result["observed"]["engines"]).keys() == {"plain", "ours"}


def test_a_stopped_contest_leaves_nothing(space):
    made = space(TWO, repeats=1000, tokens=200)
    done = made.cancel_at(lambda events: any(e.get("what") == "batch 1" and e["done"] for e in events))
    assert done.code == 143
    assert done.result is None
    assert list(made.out("result").iterdir()) == []


def test_the_gpu_is_told_of(space, hold, told, monkeypatch):
    """A driver that tells of a GPU, and decoders that take no time."""
    made = space(TWO)
    made.request["resources"]["gpus"] = ["0"]
    monkeypatch.setattr("lib.llm.checkpoint.device", lambda _job: told("").device)
    library = FakeNvml(slowed=0x4, pids=[1])
    monkeypatch.setattr("lib.gpu.idle.PATIENCE", 0)
    plain, ours = told("plain"), told("ours")

    def spend(millijoules):
        library.told["millijoules"] += millijoules

    plain.on_generate, ours.on_generate = (lambda: spend(4000)), (lambda: spend(1000))
    job, said = hold(made, {"generate": plain, "steady": ours}, library)
    ran = said["heats"][0]["entries"]
    assert (ran["plain"]["gpu"]["joules"], ran["ours"]["gpu"]["joules"]) == (12.0, 3.0)  # of three runs
    assert ran["plain"]["gpu"]["joules_are"] == "counted"
    assert ran["ours"]["gpu"]["sm_mhz"] == 1980
    assert said["gpu"]["idle"]["trouble"] == ["1 other process compute on it"]
    assert job.result.metrics == pytest.approx({
        "entries": 2, "repeats": 3, "gpu_clock_mhz": 1980, "gpu_temperature_c": 41, "throttled": 1, "gpu_idle": 0,
    })  # fmt: skip
