"""Pieces that outlive an attempt: whole, or not there."""

import os
import signal
import sys

import pytest

from tinfra_worker import event
from tinfra_worker.job import Job
from tinfra_worker.request import Request


@pytest.fixture
def job(tmp_path):
    """An attempt whose checkpoint folder is <tmp_path>/kept."""

    def make():
        request = Request("x", {}, {}, {}, 1, 1, checkpoint=str(tmp_path / "kept"))
        return Job(tmp_path, request, event.Writer(tmp_path / "events.jsonl"))

    return make


def files(folder, text, names=("a", "b", "c")):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
    return [folder / name for name in names]


def content(piece):
    return {p.name: p.read_text() for p in piece.iterdir()}


def killed_at(step, act):
    """Whether a child that acts dies at the given of its steps on the file system, as a killed worker would."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = step

    def hook(name, _args):
        nonlocal left
        if name != "os.kill" and name.startswith(("os.", "shutil.", "open")):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(hook)
        act()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
def test_killed_at_each_step(job, tmp_path, before):
    old, new = files(tmp_path / "old", "old"), files(tmp_path / "new", "new", ("a", "b", "d"))
    seen = set()
    for step in range(1000):
        if before:
            job().checkpoint("layer-0", old)
        died = killed_at(step, lambda: job().checkpoint("layer-0", new))
        piece = job().restored("layer-0")
        found = content(piece) if piece else None
        assert found in (None, dict.fromkeys("abc", "old"), dict.fromkeys("abd", "new")), step
        seen.add(found and found["a"])
        if not died:
            break
        # What was left half-way is in nobody's way.
        job().checkpoint("layer-1", old)
        assert content(job().restored("layer-1")) == dict.fromkeys("abc", "old")
    assert step > 8
    assert found == dict.fromkeys("abd", "new")
    assert seen >= ({"old", "new"} if before else {None, "new"})
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["layer-0", "layer-1"]


@pytest.mark.parametrize("name", ["", ".", "..", ".layer-0.part", ".x", "a/b", "../a", "/a", "a\\b", "a\0b"])
def test_names_that_lead_elsewhere(job, tmp_path, name):
    kept = files(tmp_path / "kept" / "precious", "x")
    with pytest.raises(ValueError, match="plain file name"):
        job().checkpoint(name, kept)
    with pytest.raises(ValueError, match="plain file name"):
        job().restored(name)
    assert content(tmp_path / "kept" / "precious") == dict.fromkeys("abc", "x")


def test_two_files_of_one_name(job, tmp_path):
    twice = files(tmp_path / "one", "1", "a") + files(tmp_path / "two", "2", "a")
    with pytest.raises(ValueError, match="two files are called a"):
        job().checkpoint("layer-0", twice)
    assert job().restored("layer-0") is None


def test_what_was_restored_is_observed_once(job, tmp_path):
    first = job()
    for name in ("layer-0", "layer-1"):
        first.checkpoint(name, files(tmp_path / "x", "x"))
    second = job()
    for name in ("layer-0", "layer-2", "layer-1", "layer-0"):
        second.restored(name)
    assert second.result.observed == {"restored": "layer-0,layer-1"}
