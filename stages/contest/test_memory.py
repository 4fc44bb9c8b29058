"""Whose memory of the GPU is whose, with an allocator that only counts."""

import json

import pytest

from lib.llm.decoder import Made

FREE = 100_000
SHARED = [("plain", "base", "generate"), ("static", "base", "generate_static"), ("ours", "base", "steady")]


class Gpu:
    """What is taken of FREE bytes, and what a library keeps besides until it is asked to give it back."""

    def __init__(self):
        self.taken = self.kept = 0
        self.given_back = []  # what was taken at each time

    def free(self, _device):
        self.kept = 0
        return FREE - self.taken

    def give_back(self, _device):
        self.given_back.append(self.taken)

    def left(self, _device):
        return FREE - self.taken - self.kept


@pytest.fixture
def gpu(monkeypatch):
    made = Gpu()
    monkeypatch.setattr("lib.gpu.memory.free", made.free)
    monkeypatch.setattr("lib.gpu.memory.left", made.left)
    monkeypatch.setattr("lib.gpu.memory.give_back", made.give_back)
    monkeypatch.setattr("lib.gpu.roofline.copy_bandwidth", lambda _device: 1e6)
    return made


@pytest.fixture
def run(gpu, space, told, hold):
    class Counted(told):
        """Holds 100 bytes a row while it is open, and needs another 50 a row in a run."""

        def open(self, batch, length):
            gpu.taken -= 100 * (self.opened[-1][0] if self.opened else 0)
            super().open(batch, length)
            gpu.taken += 100 * batch

        def generate(self, ids, tokens, bar) -> Made:
            gpu.kept = 50 * len(ids)
            return super().generate(ids, tokens, bar)

    weights = {"generate": 1000, "generate_static": 0, "steady": 1500}  # bytes that each load brings

    class Opener(dict):
        def __getitem__(self, backend):
            gpu.taken += weights[backend]
            return Counted(backend, **({"step": 0.01} if backend == "steady" else {}))

    def go(entries, back=0, **params):
        """`back` are bytes that somebody gives back while generate is loaded."""
        weights["generate"] -= back
        return hold(space(entries, **params), Opener())

    return go


def test_weights_that_two_share_count_for_both(run):
    _, said = run(SHARED)
    loads = {name: (e["load_bytes"], e["shares_weights_of"]) for name, e in said["entries"].items()}
    assert loads == {"plain": (1000, ""), "static": (1000, "plain"), "ours": (1500, "")}
    peaks = [{n: ran["gpu"]["peak_bytes"] for n, ran in h["entries"].items()} for h in said["heats"]]
    assert peaks == [{"plain": 1150, "static": 1150, "ours": 1650}, {"plain": 1300, "static": 1300, "ours": 1800}]
    assert said["gpu"]["free_bytes_before"] == FREE


def test_memory_that_others_give_back_meanwhile_is_nobodys(run):
    job, said = run(SHARED, back=300)
    loads = {name: e.get("load_bytes") for name, e in said["entries"].items()}
    assert loads == {"plain": None, "static": None, "ours": 1500}
    assert said["entries"]["static"]["shares_weights_of"] == "plain"
    peaks = [{n: ran["gpu"].get("peak_bytes") for n, ran in h["entries"].items()} for h in said["heats"]]
    assert peaks == [{"plain": None, "static": None, "ours": 1650}, {"plain": None, "static": None, "ours": 1800}]
    (told,) = [
        e
        for e in map(json.loads, (job.workspace / "events.jsonl").open())
        if e.get("level") == "warning" and "not known" in e["message"]
    ]
    assert told["message"].startswith("plain was loaded into 0.0 GB")


def test_a_step_and_the_roofline(run):
    job, said = run(SHARED)
    assert job.result.metrics["copy_bytes_per_second"] == 1e6
    # 1,000 bytes of weights; 64 numbers of 4 bytes a token, of 5 + 4 / 2 tokens in each of 2 rows.
    assert said["heats"][1]["entries"]["ours"]["gpu"]["bytes_per_step"] == 1000 + 2 * 7 * 256


def test_saturation_ends_before_memory_does(run):
    """At batch b 150 b bytes are needed, and about 97 thousand are free."""
    _, said = run(SHARED, saturation=4096)
    assert said["saturation"]["ours"]["ended"] == "memory has no room for batch 1024"
    assert said["heats"][-1]["batch"] == said["saturation"]["ours"]["batch"] == 512
    assert said["heats"][-1]["out"] == {}


def test_the_reference_is_gone_before_entries_are_loaded(run, gpu):
    _, said = run([SHARED[2]])
    assert len(gpu.given_back) == 1  # of the reference, before `ours` is there
    assert gpu.given_back[0] < 1500
    assert said["entries"]["ours"]["load_bytes"] == 1500
    assert said["entries"]["ours"]["shares_weights_of"] == ""
