import json
import sys
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from lib.llm.contract import read_contract
from lib.trt import description, inspect, limits, profiles
from lib.trt import look as looking
from lib.trt.build import Wanted
from lib.trt.phases import Phase
from lib.trt.tactics import Choice
from onnx import TensorProto, helper, numpy_helper, save
from tensorrt import worker
from tinfra_worker import BadInput, BadParam, Fault

PARAMS = {
    "decode": [{"batch": 1, "length": 64}, {"batch": 4, "length": 64}],
    "spans": False,
    "inspect": True,
    "prefill": 32,
    "score": 0,
    "optimization": 3,
}
CONTRACT = {
    "format": 1,
    "architecture": "LlamaForCausalLM",
    "layers": 1,
    "heads": 2,
    "kv_heads": 1,
    "head_dim": 8,
    "hidden": 16,
    "vocabulary": 32,
    "context": 64,
    "dtype": "float16",
    "ends": [2],
    "weights": "float",
    "group": 0,
    "symmetric": True,
    "weight_bytes": 1000,
}


@pytest.fixture
def graph(tmp_path):
    """A folder that looks like onnx_decoder's."""
    folder = tmp_path / "graph"
    folder.mkdir()
    weight = numpy_helper.from_array(np.zeros((4, 8), np.float32), "w")
    node = helper.make_node("Identity", ["w"], ["logits"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [4, 8])
    save(helper.make_model(helper.make_graph([node], "g", [], [out], [weight])), str(folder / "model.onnx"))
    (folder / "decoder.json").write_text(json.dumps(CONTRACT))
    return folder


@pytest.fixture
def timing(tmp_path):
    folder = tmp_path / "timing"
    folder.mkdir()
    (folder / "timing.cache").write_bytes(b"times")
    (folder / "tactics.json").write_text('{"format": 1, "of": {"graph": "x"}, "tactics": {"0 a": "k"}}')
    return folder


@pytest.fixture
def space(workspace, graph):
    def make(timing=None, **params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", graph, "model/onnx-decoder")
        if timing:
            made.add_input("timing", timing, "engine/timing")
        made.request["outputs"] = {"engine": "engine/tensorrt", "timing": "engine/timing", "report": "result/engine"}
        return made

    return make


def refused(space, says, code):
    done = space.run()
    assert done.code == code, (done.events, done.stderr)
    assert says in done.problem["message"], done.problem
    assert done.result is None
    return done.problem


def test_without_a_gpu_the_machine_is_at_fault(space):
    assert "machine" in refused(space(), "TensorRT needs an NVIDIA GPU", 12)["hint"]


@pytest.mark.parametrize(
    ("decode", "says"),
    [
        ([], "no batch and length is given"),
        ([{"batch": 1.5, "length": 64}], "1.5 is not a whole number"),
        ([{"batch": 1, "length": 8}], "length is 8"),
        ([{"batch": 1, "length": 64}, {"batch": 1, "length": 64}], "given twice"),
    ],
)
def test_profiles_that_cannot_be(space, decode, says):
    with pytest.raises(BadParam, match=says) as found:
        worker.ask(space(decode=decode).job())
    assert found.value.param == "decode"


def test_rows_longer_than_the_models_positions(space):
    done = space(decode=[{"batch": 1, "length": 65}]).run()
    assert (done.code, done.problem["param"]) == (10, "decode")
    assert "decode has rows of 65 tokens; the model has 64 positions" in done.problem["message"]


def test_a_graph_of_another_kind_is_refused_before_anything_is_built(space, graph):
    (graph / "decoder.json").unlink()
    assert refused(space(), "decoder.json cannot be read", 11)["input"] == "model"


def test_a_damaged_graph(space, graph):
    (graph / "model.onnx").write_bytes(b"\xff\xff\xff\xff")
    assert refused(space(), "model.onnx cannot be read", 11)["input"] == "model"


def test_what_is_asked_for(space, timing):
    wanted = worker.ask(space(timing, score=16, optimization=5).job())
    assert [str(p) for p in wanted.profiles] == [
        "decode: batch 1, tokens 1, length 64, rows 1",
        "decode: batch 4, tokens 1, length 64, rows 1",
        "prefill: batch 1-4, tokens 1-32, length 64, rows 1",
        "score: batch 1-4, tokens 1-16, length 64, rows 1-16",
    ]
    assert (wanted.optimization, wanted.timing) == (5, b"times")
    assert worker.ask(space().job()).timing == b""
    assert [p.batch for p in worker.ask(space(spans=True).job()).profiles] == [(1, 1, 1), (2, 4, 4), (1, 4, 4)]


def test_damaged_timings_are_told_of_before_the_build(space, timing):
    assert worker.read_choice(space(timing).job()) == Choice({"graph": "x"}, {"0 a": "k"})
    assert worker.read_choice(space().job()) is None
    (timing / "tactics.json").write_text("{")
    with pytest.raises(BadInput, match=r"tactics\.json cannot be read"):
        worker.read_choice(space(timing).job())


def seen():
    said = json.dumps({"Layers": [{"Name": "a", "LayerType": "gemm", "TacticName": "k1"}, {"Name": "b"}]})
    one, other, prefill = profiles.plan([(1, 64), (4, 64)], 32, 0)
    return [worker.Seen(p, inspect.read_layers(said), {"a": 3.0, "b": 1.0}, said) for p in (one, other, prefill)]


SAID = SimpleNamespace(began=100.0, lines=["[INFO] x", "[ERROR] y"], times=[1.5, 2.0])


def test_the_report(space):
    s = space()
    job = s.job()
    worker.report(job, seen(), [limits.Limit("unpacked", "half of them"), limits.Limit("warning", "w")])
    worker.write_log(job, SAID, [Phase("Building", 102.0, 7.0)])
    out = s.out("report")
    assert sorted(p.name for p in out.iterdir()) == [
        "build.log",
        "engine.md",
        "layers.json",
        "limits.json",
        "profile.json",
    ]
    text = (out / "engine.md").read_text()
    assert "## prefill: batch 1-4, tokens 1-32, length 64, rows 1\n\n2 layers, 4 µs" in text
    assert text.endswith("## Limits\n\n- unpacked: half of them\n- warning: w\n")
    assert json.loads((out / "profile.json").read_text())[0]["microseconds"] == {"a": 3.0, "b": 1.0}
    assert json.loads((out / "layers.json").read_text())[1]["engine"]["Layers"][0]["Name"] == "a"
    assert json.loads((out / "limits.json").read_text())[0] == {"kind": "unpacked", "what": "half of them"}
    assert (out / "build.log").read_text() == (
        "     1.5 s [INFO] x\n     2.0 s [ERROR] y\n\n"
        "Phases of the build: when each began, and what it took\n     2.0 s      7.0 s  Building\n"
    )
    assert job.result.metrics["fallbacks"] == 1


def test_a_report_of_an_engine_that_the_inspector_fails_at(space):
    s = space()
    silent = [worker.Seen(one.profile, [], one.times, "") for one in seen()]
    worker.report(s.job(), silent, [])
    assert "| 3.0 | a |" in (s.out("report") / "engine.md").read_text()
    assert json.loads((s.out("report") / "layers.json").read_text())[0]["engine"] == {}


def test_limits_that_nobody_looked_for_are_not_told_to_be_none(space):
    s = space()
    silent = [worker.Seen(one.profile, [], one.times, "") for one in seen()]
    for found, told in (([], ""), ([limits.Limit("warning", "w")], "- warning: w\n")):
        worker.report(s.job(), silent, found)
        said = (s.out("report") / "engine.md").read_text().partition("## Limits\n\n")[2]
        assert said == told + "- not looked for: what only the kernels of layers show, which TensorRT did not tell\n"


def test_an_engine_without_limits_says_so(space):
    s = space()
    worker.report(s.job(), seen(), [])
    assert (s.out("report") / "engine.md").read_text().endswith("## Limits\n\nNone.\n")


def test_choices_are_of_each_profile(space):
    s = space()
    job = s.job()
    choice = worker.choose(job, Wanted([one.profile for one in seen()], 3, b""), seen())
    assert choice.tactics == {"0 a": "k1", "1 a": "k1", "2 a": "k1"}
    assert choice.of["graph"] == job.input_info("model").digest


def looked(missed, dtype="float16"):
    """A witness that finds all but what it missed: of each of three profiles a layer, the inspector of all."""
    said = json.dumps({"Layers": [{"Name": f"a{n}", "TacticName": f"k{n}"} for n in range(3)]})
    values = {"step": 0.002, "run": True, "said": said}
    found = {
        (kind, n): {f"a{n}": 3.0} if kind == "times" else values[kind]
        for kind, n in looking.tasks(3)
        if (kind, n) not in missed
    }
    return SimpleNamespace(look=lambda *_: looking.Looked(dtype, Counter(load=2.0, step=1.25), found, missed))


def test_what_the_looking_missed_is_a_limit(space):
    witness = looked({("times", 0): "its process was ended by SIGSEGV", ("said", 0): "lost"})
    job = space().job()
    found, missed = worker.look(job, read_contract(job.input("model")), worker.ask(job).profiles, witness)
    assert {limit.kind for limit in missed} == {"error"}
    assert [limit.what for limit in missed] == [
        f"the times of its layers are not known, of the profile {found[0].profile}: its process was ended by SIGSEGV",
        "TensorRT's inspector fails: lost",
    ]
    assert (found[0].times, found[0].layers, found[1].times) == ({}, [], {"a1": 3.0})
    assert job.result.metrics == {"step_ms": 2.0}
    worker.report(job, found, missed)
    assert job.result.metrics["fallbacks"] == 0
    assert worker.choose(job, worker.ask(job), found).tactics == {}


def test_each_profile_has_the_layers_that_were_timed_of_it(space):
    job = space().job()
    found, missed = worker.look(job, read_contract(job.input("model")), worker.ask(job).profiles, looked({}))
    assert missed == []
    assert [(one.layers[0].name, one.times) for one in found] == [(f"a{n}", {f"a{n}": 3.0}) for n in range(3)]
    assert worker.choose(job, worker.ask(job), found).tactics == {"0 a0": "k0", "1 a1": "k1", "2 a2": "k2"}


def test_the_inspector_is_asked_where_it_should(space):
    for wanted in (True, False):
        job = space(inspect=wanted).job()
        asked = []
        sound = looked({})
        witness = SimpleNamespace(look=lambda *given, sound=sound, asked=asked: asked.append(given) or sound.look())
        planned = worker.ask(job).profiles
        worker.look(job, read_contract(job.input("model")), planned, witness)
        assert asked == [(planned, wanted)]


def test_the_log_says_what_the_looking_took(space):
    witness = looked({})
    made = space()
    job = made.job()
    worker.look(job, read_contract(job.input("model")), worker.ask(job).profiles, witness)
    told = [event["message"] for event in made.events() if event["type"] == "log"]
    assert told == ["looked at the engine in 3.2 s: load 2.0, step 1.2"]


WITNESS = """
import json, sys, time
with open(sys.argv[2], "a") as found:
    for task in [["load", 0], *json.loads(sys.stdin.read())]:
        layers = '{"Layers": ["a"]}'
        said = {"load": "float16", "step": 0.002, "run": True, "times": {"a": 3.0}, "said": layers}[task[0]]
        found.write(json.dumps({"begin": task, "at": time.time()}) + "\\n")
        found.write(json.dumps({"found": said, "at": time.time()}) + "\\n")
    assert open(sys.argv[1] + "/engine.plan").read() == "the plan"
"""


def test_all_outputs(space, monkeypatch):
    """The whole stage, with a library and a witness that only say what they should."""
    import torch

    built = worker.Built(b"the plan", b"times", 9.0, False, [Phase("Building", 101.0, 9.0)])
    for name, stand_in in (
        ("load", lambda: SimpleNamespace(__version__="10.6.0")),
        ("make_logger", lambda _: SAID),
        ("parse", lambda *_: SimpleNamespace(seconds=4.0)),
        ("build", lambda *_: built),
        ("architecture", lambda: "sm_90"),
    ):
        monkeypatch.setattr(worker, name, stand_in)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    command = (sys.executable, "-c", WITNESS)
    monkeypatch.setattr(looking, "Looking", partial(looking.Looking, command=command))
    made = space()
    job = made.job()
    worker.main(job)
    assert description.read(made.out("engine")).profiles == worker.ask(job).profiles
    assert {p.name for p in made.out("engine").iterdir()} == {"engine.plan", "engine.json", "decoder.json"}
    assert {p.name for p in made.out("timing").iterdir()} == {"timing.cache", "tactics.json"}
    assert "Building" in (made.out("report") / "build.log").read_text()
    assert job.result.metrics == {
        "parse_seconds": 4.0,
        "build_seconds": 9.0,
        "size_bytes": 8.0,
        "weights_bytes_expected": 64.0,
        "step_ms": 2.0,
        "layers": 1.0,
        "fallbacks": 0.0,
    }


def test_an_engine_of_another_type_is_a_fault(space):
    witness = looked({}, "float32")
    job = space().job()
    with pytest.raises(Fault, match="computes in float32; the graph asks for float16"):
        worker.look(job, read_contract(job.input("model")), worker.ask(job).profiles, witness)
