import json

import pytest

HEAT = {
    "batch": 2,
    "entries": {
        "ours": {
            "gpu": {"joules": 24.0, "joules_are": "counted", "sm_mhz": 1980, "celsius": 50, "slowed": {},
                    "peak_bytes": 5000, "bytes_per_step": 3000.0},
            "runs": [{"first": 2.0, "steps": [1.0, 3.0]}, {"first": 4.0, "steps": [1.0, 1.0]}],
            "tokens": ["a", "a"],
            "warmup": [{"first": 9.0, "steps": [9.0, 9.0]}],
        }
    },
    "order": [["ours"], ["ours"]],
    "out": {"plain": "out of memory"},
}  # fmt: skip
CONTEST = {
    "asked": {"prompt": 8, "tokens": 3},
    "entries": {
        "ours": {"model": "sha256:" + "a" * 64, "engine": "ours 1", "load_seconds": 1.5, "sizes": {"a": 10, "b": 5}},
        "plain": {"model": "sha256:" + "b" * 64, "engine": "plain 1", "load_seconds": 1.0, "sizes": {}},
    },
    "gpu": {"copy_bytes_per_second": 6000.0},
    "heats": [HEAT, HEAT | {"batch": 4}],
    "saturation": {"ours": {"batch": 4}},
}


@pytest.fixture
def space(workspace, tmp_path):
    def make(contest=CONTEST, **params):
        made = workspace()
        (tmp_path / "contest").mkdir()
        (tmp_path / "contest" / "contest.json").write_text(json.dumps(contest))
        made.add_input("contest", tmp_path / "contest", "result/contest")
        made.request["params"] = {"entry": "ours", "batch": "2"} | params
        made.request["outputs"] = {"result": "result/benchmark"}
        return made

    return make


def refused(made, says, code=10, **where):
    done = made.run()
    assert done.code == code, (done.events, done.stderr)
    assert says in done.problem["message"], done.problem
    assert where.items() <= done.problem.items()


def test_metrics_by_hand(space):
    made = space()
    done = made.run()
    assert done.code == 0, done.stderr
    assert done.metrics == pytest.approx({
        "prefill_tokens_per_second": 6, "prefill_tokens_per_second_low": 4, "prefill_tokens_per_second_high": 8,
        "decode_tokens_per_second": 1.5, "decode_tokens_per_second_low": 1, "decode_tokens_per_second_high": 2,
        "first_token_ms": 3000, "token_ms_p50": 1000, "token_ms_p90": 2400, "token_ms_p99": 2940,
        "batch": 2, "repeats": 2, "load_seconds": 1.5, "size_bytes": 15,
        "peak_memory_bytes": 5000, "gpu_peak_bytes": 5000, "gpu_clock_mhz": 1980, "gpu_temperature_c": 50,
        "throttled": 0, "joules_per_token": 2, "bytes_per_step": 3000, "roofline_share": 0.5,
    })  # fmt: skip
    said = json.loads((made.out("result") / "benchmark.json").read_text())
    assert said["asked"] == {"prompt": 8, "tokens": 3, "batch": 2}
    assert said["model"] == CONTEST["entries"]["ours"]["model"]
    assert said["contest"] == made.request["inputs"]["contest"]["digest"]
    assert said["runs"] == HEAT["entries"]["ours"]["runs"]


def test_at_saturation(space):
    done = space(batch="saturation").run()
    assert done.metrics["batch"] == 4


def test_without_a_gpu(space):
    ran = HEAT["entries"]["ours"] | {"gpu": {}}
    done = space(CONTEST | {"gpu": {}, "heats": [HEAT | {"entries": {"ours": ran}}]}).run()
    assert done.code == 0, done.stderr
    assert "roofline_share" not in done.metrics
    assert "peak_memory_bytes" not in done.metrics


def test_another_model_is_refused(space, tmp_path):
    made = space()
    (tmp_path / "model").mkdir()
    made.add_input("model", tmp_path / "model", "model/hf")
    refused(made, "ours ran another model: sha256:aaaa", code=11, input="model")
    made.request["inputs"]["model"]["digest"] = CONTEST["entries"]["ours"]["model"]
    (made.root / "events.jsonl").unlink()
    assert made.run().code == 0


@pytest.mark.parametrize(
    ("params", "says", "param"),
    [
        ({"entry": "none"}, "none took no part; ours, plain did", "entry"),
        ({"entry": "plain"}, "plain has no figure at batch 2: out of memory", "batch"),
        ({"entry": "plain", "batch": "saturation"}, "not driven to saturation", "batch"),
        ({"batch": "3"}, "did not run at batch 3; it ran at 2, 4", "batch"),
    ],
)
def test_what_there_is_no_figure_of(space, params, says, param):
    refused(space(**params), says, param=param)


def test_another_file(space):
    refused(space({"entries": {}}), "took no part", param="entry")


def test_a_file_of_another_version(space):
    refused(space({"heats": []}), "not one of this version", code=11, input="contest")
