"""The witness's tasks, with a made-up engine in torch in place of TensorRT's."""

import io
import json
import subprocess
from types import SimpleNamespace

import pytest

from lib.trt import look, test_engine, timed, witness
from lib.trt.profiles import plan


class Profiler:
    """As IProfiler: what derives from it is told of each layer."""

    def __init__(self):
        pass


class Inspector:
    def get_engine_information(self, kind):
        return f"{kind} of the engine"


class Context(test_engine.Sums):
    def __init__(self):
        self.made = SimpleNamespace(profiler=None)

    def run(self):
        super().run()
        if self.made.profiler:
            self.made.profiler.report_layer_time("sums", 0.5)


class Plan(test_engine.Plan):
    stream = SimpleNamespace(synchronize=lambda: None)
    trt = SimpleNamespace(IProfiler=Profiler, LayerInformationFormat=SimpleNamespace(JSON="json"))
    engine = SimpleNamespace(create_engine_inspector=Inspector)

    def context(self, profile):
        return Context()


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "decoder.json").write_text(json.dumps(test_engine.CONTRACT))
    return tmp_path


def test_all_tasks_are_done_in_their_order(engine):
    lines = []
    asked = look.tasks(3)
    witness.testify(engine, Plan(plan([(2, 24), (3, 32)], 8, 0)), asked, lines.append)
    assert [tuple(line["begin"]) for line in lines[::2]] == asked
    found = dict(zip(asked, (line["found"] for line in lines[1::2]), strict=True))
    assert found["step", 0] > 0
    assert found["run", 2] is True
    assert found["times", 1] == {"sums": pytest.approx(500)}
    assert found["said", 0] == "json of the engine"


@pytest.mark.parametrize(("seconds", "runs"), [(60.0, timed.RUNS), (0.0, 1)])
def test_long_passes_are_timed_fewer_times(engine, monkeypatch, seconds, runs):
    monkeypatch.setattr(timed, "SECONDS", seconds)
    ran = []
    monkeypatch.setattr(timed.Trial, "run", lambda self: (ran.append(0), self._context.run()))
    assert witness.times(engine, Plan(plan([(2, 24)], 8, 0)), 0) == {"sums": pytest.approx(500)}
    assert len(ran) == 1 + runs  # the first is not timed


def test_a_step_is_of_the_batch_that_its_profile_is_tuned_for(engine, monkeypatch):
    opened = []
    monkeypatch.setattr(witness, "EngineDecoder", recording(opened))
    spans = Plan(plan([(2, 24), (4, 24)], 8, 0, spans=True))
    for number in (0, 1):
        witness.step_seconds(engine, spans, number)
    assert opened == [(2, 24), (4, 24)]


def recording(opened):
    class Decoder(witness.EngineDecoder):
        def open(self, batch, length):
            opened.append((batch, length))
            super().open(batch, length)

    return Decoder


def test_a_process_of_its_own_says_why_it_cannot(engine):
    """The real program, at a folder that is no engine."""
    found = engine / "found"
    asked = json.dumps(look.tasks(1))
    env = {"PYTHONPATH": ":".join(witness.sys.path)}
    command = [*look.WITNESS, str(engine), str(found)]
    done = subprocess.run(command, input=asked, env=env, capture_output=True, text=True, check=False)
    begin, failed = map(json.loads, found.read_text().splitlines())
    assert 0 <= failed.pop("at") - begin.pop("at") < 60
    assert begin == {"begin": ["load", 0]}
    assert failed == {
        "failed": "engine.json cannot be read: " + failed["failed"].partition(": ")[2],
        "type": "ValueError",
    }
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_process_that_is_asked_nothing(engine):
    assert witness.main(engine, engine / "found", io.StringIO()) == 0
    assert not (engine / "found").exists()
