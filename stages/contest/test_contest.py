import json

import pytest

from tinfra_worker import BadInput, BadParam, Resources

TWO = [("plain", "base", "generate"), ("ours", "base", "steady")]


def test_two_in_turn(space, hold, told):
    plain, ours = told("plain 1"), told("ours 1", step=0.05)
    job, said = hold(space(TWO), {"generate": plain, "steady": ours})
    assert [h["batch"] for h in said["heats"]] == [1, 2]
    for heat in said["heats"]:
        assert heat["order"] == [["plain", "ours"], ["ours", "plain"], ["plain", "ours"]]
        assert heat["out"] == {}
        for name, step in (("plain", 0.1), ("ours", 0.05)):
            ran = heat["entries"][name]
            assert ran["runs"] == [{"first": 2 * step, "steps": [step] * 3}] * 3
            assert len(ran["warmup"]) == 1
            assert len(set(ran["tokens"])) == 1
    assert plain.calls == ours.calls == [1] * 4 + [2] * 4
    assert plain.opened == ours.opened == [(1, 9), (2, 9)]  # the check's shape is that of the first heat
    assert job.result.metrics == {"entries": 2, "repeats": 3}
    entry = said["entries"]["ours"]
    assert (entry["engine"], entry["backend"], entry["dtype"]) == ("ours 1", "steady", "float32")
    assert entry["model"] == job.input_info("models[base]").digest
    assert entry["check"] == {
        "reference": "plain 1", "relative_difference": 0, "max_difference": 0, "mean_difference": 0,
    }  # fmt: skip
    assert said["saturation"] == {}


def test_who_takes_part_at_which_batch(space, hold, told):
    made = space(TWO, batches=[2, 1, 4], only={"plain": [4]})
    _, said = hold(made, {"generate": told("plain"), "steady": told("ours")})
    assert [sorted(h["entries"]) for h in said["heats"]] == [["ours"], ["ours"], ["ours", "plain"]]


def test_a_reference_that_takes_no_part_is_loaded_first_and_dropped(space, hold, told):
    loads = []

    class Opener(dict):
        def __getitem__(self, backend):
            loads.append(backend)
            return told(backend)

    _, said = hold(space([("ours", "base", "steady"), ("more", "base", "humming")]), Opener())
    assert loads == ["generate", "steady", "humming"]
    assert {e["check"]["reference"] for e in said["entries"].values()} == {"generate"}


def test_another_computation_is_refused(space, hold, told):
    with pytest.raises(BadInput, match="ours: the engine computes something else than plain") as found:
        hold(space(TWO), {"generate": told("plain"), "steady": told("ours", token=9)})
    assert found.value.port == "models"


def test_logits_too_far_off_are_refused(space, hold, told):
    class Off(told):
        dtype = "bfloat16"  # so that the likeliest token alone must agree

        def feed(self, ids, rows):
            logits = super().feed(ids, rows)
            logits[:, :, 100:200] += 3
            return logits

    made = space(TWO)
    with pytest.raises(BadInput, match=r"are 1.3.? of theirs away, and tolerance is 0\.25"):
        hold(made, {"generate": told("plain"), "steady": Off("ours")})


def test_out_of_memory_at_a_batch(space, hold, told):
    small = told("ours", fits=1)
    job, said = hold(space(TWO, batches=[1, 2, 4]), {"generate": told("plain"), "steady": small})
    one, two, four = said["heats"]
    assert sorted(one["entries"]) == ["ours", "plain"]
    for heat in (two, four):
        assert sorted(heat["entries"]) == ["plain"]
        assert heat["out"] == {"ours": "out of memory: CUDA out of memory. Tried to allocate 8 GiB"}
        assert heat["order"] == [["plain"]] * 3
    assert job.result.metrics["repeats"] == 3


def test_out_of_memory_in_a_round_leaves_no_figure(space, hold, told):
    """Of runs before it none is kept: a median of fewer rounds would pass for one of all."""
    ours = told("ours")

    def fill():
        if ours.calls == [1, 1, 1]:  # warm-up, a round, and this one
            raise RuntimeError("CUDA out of memory")

    ours.on_generate = fill
    _, said = hold(space(TWO), {"generate": told("plain"), "steady": ours})
    assert "ours" not in said["heats"][0]["entries"]
    assert len(said["heats"][0]["entries"]["plain"]["runs"]) == 3
    assert "ours" in said["heats"][1]["entries"]


def test_a_batch_that_an_engine_was_not_built_for(space, hold, told):
    _, said = hold(space(TWO), {"generate": told("plain"), "steady": told("ours", largest=1)})
    assert said["heats"][1]["out"] == {"ours": "unfit: built for 1 rows"}
    with pytest.raises(BadParam, match="ours cannot run batch 1: built for 0 rows"):
        hold(space(TWO), {"generate": told("plain"), "steady": told("ours", largest=0)})


def test_another_error_ends_it(space, hold, told):
    ours = told("ours")

    def fail():
        raise RuntimeError("illegal memory access")

    ours.on_generate = fail
    made = space(TWO)
    with pytest.raises(RuntimeError, match="illegal"):
        hold(made, {"generate": told("plain"), "steady": ours})
    assert list(made.out("result").iterdir()) == []


def test_no_memory_for_an_entry(space, hold, told):
    class Opener(dict):
        def __getitem__(self, backend):
            if backend == "steady":
                raise MemoryError
            return told(backend)

    with pytest.raises(Resources, match=r"ours does not fit into memory beside plain 0\.0 GB") as found:
        hold(space(TWO), Opener())
    assert "leave out an entry" in found.value.hint


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "base was not verified"),
        ({"base": None}, "base: the result/check is of another model: check.json names none"),
        ({"base": "sha256:" + "0" * 64}, "of another model"),
    ],
)
def test_nobody_without_a_proof(space, hold, told, prover, change, says):
    made = space(TWO)
    del made.request["inputs"]["verified[base]"]
    for key, digest in change.items():
        prover(made, key, digest)
    with pytest.raises(BadInput, match=says) as found:
        hold(made, {})
    assert found.value.port == "verified"


def test_a_proof_of_no_model(space, hold, prover):
    made = space(TWO)
    prover(made, "more", "sha256:" + "0" * 64)
    with pytest.raises(BadInput, match="more is no model of this contest"):
        hold(made, {})


@pytest.mark.parametrize(
    ("entries", "params", "param", "says"),
    [
        ([], {}, "entries", "nobody"),
        ([*TWO, TWO[0]], {}, "entries", "plain is there twice"),
        ([("a", "none", "generate")], {}, "entries", "models has base"),
        ([("a", "base", "tensorrt")], {}, "entries", "does not run this checkpoint"),
        (TWO, {"batches": []}, "batches", "no batch size"),
        (TWO, {"batches": [1.5]}, "batches", "whole number"),
        (TWO, {"only": {"who": [1]}}, "only", "who is no entry"),
        (TWO, {"only": {"ours": [3]}}, "only", "takes part at \\[3\\]"),
        (TWO, {"prompt": 253}, "prompt", "context"),
    ],
)
def test_what_cannot_be_asked(space, hold, entries, params, param, says):
    with pytest.raises(BadParam, match=says) as found:
        hold(space(entries, **params), {})
    assert found.value.param == param


def test_a_model_that_nobody_runs(space, hold, tiny, other_model):
    with pytest.raises(BadInput, match="no entry runs idle"):
        hold(space(TWO, {"base": tiny / "model", "idle": other_model}), {})


def test_an_engine_is_taken_at_its_proof(space, hold, told, tiny, tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "engine.plan").write_bytes(b"plan")
    sizes = {"vocabulary": 300, "context": 256, "layers": 2, "kv_heads": 1, "head_dim": 16}
    (folder / "decoder.json").write_text(json.dumps(sizes | {"dtype": "float32", "ends": [1], "weights": "float"}))
    made = space([("trt", "engine", "tensorrt"), *TWO], {"engine": folder, "base": tiny / "model"})
    made.request["params"]["entries"][0]["dtype"] = "auto"
    opened = {"tensorrt": told("trt"), "generate": told("plain"), "steady": told("ours")}
    _, said = hold(made, opened)
    assert said["entries"]["trt"]["check"] == {"reference": "verified"}
    assert said["entries"]["trt"]["sizes"] == {"engine.plan": 4}
    assert said["heats"][0]["order"][1] == ["plain", "ours", "trt"]
