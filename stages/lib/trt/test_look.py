"""Processes that crash where they are told to, in place of the one that runs an engine."""

import json
import signal
import sys

import pytest

from lib.trt import look
from lib.trt.look import Looked, tasks
from tinfra_worker import Fault, Resources

PROFILES = ["decode: batch 1", "prefill: batch 1-4"]
WITNESS = """
import json, os, signal, sys, time
crash, how = json.loads(sys.argv[1]), sys.argv[2]
found = open(sys.argv[4], "a")
def write(line):
    found.write(json.dumps(line | {"at": time.time()}) + "\\n")
    found.flush()
def end():
    if how == "torn":
        found.write('{"found": "half of wh')
        found.flush()
    if how in ("signal", "torn"):
        os.kill(os.getpid(), signal.SIGSEGV)
    write({"failed": "the device is lost", "type": how})
    sys.exit(1)
asked = sys.stdin.read()
if not asked:
    sys.exit(0)
for task in [["load", 0], *json.loads(asked)]:
    write({"begin": task})
    if task in crash:
        end()
    write({"found": "float16" if task[0] == "load" else str(task)})
if "end" in crash:
    end()
"""


@pytest.fixture
def looked(tmp_path):
    def make(*crash, how="signal") -> Looked:
        script = tmp_path / "witness.py"
        script.write_text(WITNESS)
        command = (sys.executable, str(script), json.dumps(crash), how)
        with look.Looking(tmp_path / "engine", tmp_path, command) as looking:
            return looking.look(PROFILES)

    return make


def test_what_is_found_of_a_sound_engine(looked):
    made = looked()
    assert made.dtype == "float16"
    assert list(made.found) == tasks(2)
    assert made.missed == {}
    assert set(made.seconds) == {"start", "load", "step", "run", "times", "said", "end"}
    assert all(seconds >= 0 for seconds in made.seconds.values())


def test_what_took_how_long(tmp_path):
    """A crash's time is that of the task; both processes count."""
    lines = [
        [(["load", 0], 12), ("float16", 17), (["step", 0], 17), (0.1, 18), (["times", 0], 18.5)],
        [(["load", 0], 31), ("float16", 35), (["said", 0], 35), ("", 37)],
    ]
    told = []
    for n, one in enumerate(lines):
        path = tmp_path / str(n)
        path.write_text(
            "".join(
                json.dumps({"begin" if isinstance(what, list) else "found": what, "at": at}) + "\n" for what, at in one
            )
        )
        told.append(look._read(path))
    first = look._spent([("start", 10), *told[0].marks], 22)
    assert first == {"start": 2, "load": 5, "step": 1, "times": 3.5, "end": 0.5}
    assert first + look._spent([("start", 30), *told[1].marks], 38) == {
        "start": 3,
        "load": 9,
        "step": 1,
        "times": 3.5,
        "said": 2,
        "end": 1.5,
    }


def test_plain_passes_of_all_profiles_come_first():
    kinds = [kind for kind, _ in tasks(3)]
    assert kinds == ["step"] + ["run"] * 3 + ["times"] * 3 + ["said"]
    assert tasks(3, inspect=False) == tasks(3)[:-1]


def test_a_crash_of_the_looking_costs_only_what_was_looked_for(looked):
    made = looked(["times", 1], ["said", 0])
    assert made.missed == dict.fromkeys([("times", 1), ("said", 0)], "its process was ended by SIGSEGV")
    assert set(made.found) == set(tasks(2)) - set(made.missed)
    told = [look.say(task, why, PROFILES) for task, why in made.missed.items()]
    assert told == [
        "the times of its layers are not known, of the profile prefill: batch 1-4: its process was ended by SIGSEGV",
        "TensorRT's inspector fails: its process was ended by SIGSEGV",
    ]


def test_a_line_that_was_not_written_to_its_end(looked):
    assert looked(["said", 0], how="torn").missed == {("said", 0): "its process was ended by SIGSEGV"}


def test_exceptions_are_told_in_their_own_words(looked):
    assert looked(["times", 1], how="AcceleratorError").missed == {("times", 1): "the device is lost"}


@pytest.mark.parametrize(
    ("crash", "says"),
    [
        (["load", 0], "cannot be loaded: its process was ended by SIGSEGV"),
        (["step", 0], "fails at decoding with the profile decode: batch 1: its process was ended by SIGSEGV"),
        (["run", 1], "fails at a plain pass of the profile prefill: batch 1-4: its process was ended by SIGSEGV"),
    ],
)
def test_an_engine_that_does_not_run_is_a_fault(looked, crash, says):
    with pytest.raises(Fault, match=says):
        looked(crash)


def test_too_little_memory_for_a_plain_pass(looked):
    with pytest.raises(Resources, match="out of memory when the engine is run: the device is lost"):
        looked(["run", 0], how="OutOfMemoryError")


def test_a_crash_behind_all_that_was_asked(looked):
    made = looked("end")
    assert list(made.found) == tasks(2)
    assert look.say(("end", 0), made.missed["end", 0], PROFILES).endswith(
        "failed at its end: its process was ended by SIGSEGV"
    )


def test_a_witness_that_cannot_even_begin(tmp_path):
    with pytest.raises(Fault, match="cannot be loaded: its process ended with 3"):
        look.Looking(tmp_path, tmp_path, (sys.executable, "-c", "raise SystemExit(3)")).look(PROFILES)


def test_a_witness_that_is_asked_nothing_is_ended(tmp_path):
    with (
        pytest.raises(OSError, match="no room"),
        look.Looking(tmp_path, tmp_path, (sys.executable, "-c", WAITS)) as made,
    ):
        raise OSError("no room for the engine")
    assert made._witness.returncode == -signal.SIGKILL


WAITS = "import time\nwhile True: time.sleep(60)"
