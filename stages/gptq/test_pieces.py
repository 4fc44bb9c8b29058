import itertools
import os
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from gptq import worker

PARAMS = {
    "bits": 4,
    "group_size": 16,
    "symmetric": True,
    "observer": "minmax",
    "damping": 0.01,
    "act_order": "static",
    "block_size": 128,
    "rest": "keep",
    "ignore": ["lm_head"],
}
LAYERS = 7  # decoder layers of the model that is killed
LINEARS = 7  # quantized in each of them

# Every way to find a scale and to store it, and layers of which only some are quantized.
ALL = [
    {"observer": observer, "act_order": order, "symmetric": symmetric, "rest": rest, "ignore": ignore}
    for observer, order, symmetric, (rest, ignore) in itertools.product(
        ("minmax", "mse", "imatrix"),
        ("none", "static"),
        (True, False),
        (("keep", ["lm_head"]), ("float16", []), ("bfloat16", ["lm_head", "re:.*down_proj"])),
    )
]
SETTINGS = ALL if os.environ.get("TINFRA_SOAK") else [ALL[0], ALL[-2]]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("tokens"), np.random.default_rng(3).integers(0, 300, (8, 32)))


def write_tokens(folder, rows):
    save_file({"input_ids": np.asarray(rows, dtype=np.int64)}, folder / "tokens.safetensors")
    return folder


@pytest.fixture
def attempt(workspace, tiny, tokens):
    """Makes the workspace of an attempt, with the folder of pieces as the core hands it on."""

    def make(kept=None, model=None, calibration=None, **params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", model or tiny / "model", "model/hf")
        made.add_input("calibration", calibration or tokens, "dataset/tokens")
        made.request["outputs"] = {"model": "model/hf"}
        if kept is not None:
            for half in kept.glob(".*"):
                shutil.rmtree(half)
            made.request["checkpoint"] = str(kept)
        return made

    return make


@pytest.fixture
def kept(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def moments(space, kept):
    """Ten moments to be killed at, each further on than what the one before leaves behind."""

    def told(what):
        return lambda: (space.root / "stderr").exists() and re.search(what, (space.root / "stderr").read_text())

    def done(layers):
        return lambda: any(e.get("done", 0) >= layers * LINEARS for e in space.events())

    def writing(layer):
        # Either name: the first is there for so short a time that it may never be seen.
        return lambda: (kept / f".layer-{layer:04}.part").exists() or (kept / f"layer-{layer:04}").exists()

    # llm-compressor counts what is before the first decoder layer as one more.
    return [
        space.events,
        told(r"\(2/8\): Calibrating"),
        writing(0),
        done(2),
        told(r"\(4/8\): Propagating"),
        told(r"\(5/8\): Calibrating"),
        writing(4),
        done(6),
        done(7),
        lambda: any(space.out("model").iterdir()),
    ]


LEFT = [0, 0, 0, 2, 3, 3, 4, 6, 7, 7]  # whole pieces, at least, after each


def test_ten_kills(attempt, workspace, kept, read_tree):
    """Killed ten times, from its first word to its first file, the worker makes what an undisturbed one makes."""
    deep = workspace("synthetic")
    deep.request["params"] = {
        "shape": "toy",
        "seed": 5, "hidden": 64, "layers": LAYERS, "heads": 4, "kv_heads": 2, "intermediate": 96, "vocab": 300,
        "context": 64, "tie_embeddings": True, "dtype": "float32", "text_bytes": 2000,
    }  # fmt: skip
    deep.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf", "text": "dataset/text"}
    assert deep.run().code == 0
    undisturbed = attempt(model=deep.out("model"))
    wanted = undisturbed.run()
    assert wanted.code == 0, wanted.stderr
    seen = {}
    for n, left in enumerate(LEFT):
        space = attempt(kept, deep.out("model"))
        space.kill_at(moments(space, kept)[n])
        now = {p.name: p.stat().st_ino for p in kept.iterdir() if not p.name.startswith(".")}
        assert seen.items() <= now.items(), "a layer that was finished was made again"
        assert len(now) >= left
        seen = now
    last = attempt(kept, deep.out("model"))
    done = last.run()
    assert done.code == 0, done.stderr
    assert done.result["observed"] == {"restored": ",".join(f"layer-{n:04}" for n in range(LAYERS))}
    assert untimed(done.metrics) == untimed(wanted.metrics)
    assert read_tree(last.out("model")) == read_tree(undisturbed.out("model"))


def untimed(metrics):
    return {name: value for name, value in metrics.items() if not name.endswith("_seconds")}


class Stopped(BaseException):
    """The end of an attempt that runs in this process."""


def stop_after(space, layers):
    """Run an attempt in this process until it has kept so many decoder layers."""
    job = space.job()
    keep = job.checkpoint

    def checkpoint(name, paths):
        nonlocal layers
        keep(name, paths)
        layers -= 1
        if not layers:
            raise Stopped

    job.checkpoint = checkpoint
    with pytest.raises(Stopped):
        worker.main(job)


def finish(space):
    """Run an attempt in this process to its end; returns its result and what it warned of."""
    job = space.job()
    worker.main(job)
    return job.result, [e["message"] for e in space.events() if e.get("level") == "warning"]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_settings(attempt, kept, read_tree, settings):
    undisturbed, first, second = attempt(**settings), attempt(kept, **settings), attempt(kept, **settings)
    wanted, _ = finish(undisturbed)
    stop_after(first, 1)
    result, warned = finish(second)
    assert (result.observed, warned) == ({"restored": "layer-0000"}, [])
    assert untimed(result.metrics) == untimed(wanted.metrics)
    assert read_tree(second.out("model")) == read_tree(undisturbed.out("model"))


@pytest.mark.parametrize("observer", ["minmax", "imatrix"])
def test_what_is_finished_is_spared(attempt, kept, read_tree, monkeypatch, observer):
    """No sample is looked at for a layer that is kept, and none is quantized."""
    from llmcompressor.modifiers.gptq import base
    from llmcompressor.observers import Observer, imatrix

    first, second = attempt(kept, observer=observer), attempt(kept, observer=observer)
    finish(first)
    for name in ("accumulate_hessian", "quantize_weight"):
        monkeypatch.setattr(base, name, None)
    monkeypatch.setattr(Observer, "forward", None)
    monkeypatch.setattr(imatrix, "HooksMixin", None)  # its hook looks there first
    result, warned = finish(second)
    assert (result.observed, warned) == ({"restored": "layer-0000,layer-0001"}, [])
    assert read_tree(second.out("model")) == read_tree(first.out("model"))


def test_fallbacks_are_remembered(attempt, kept, tmp_path, read_tree):
    """Hessians of one token seen again and again have rank one: rounded to nearest, before the stop and after it."""
    rows = write_tokens(tmp_path, np.full((8, 32), 7))
    first, second = (attempt(kept, calibration=rows, damping=1e-6) for _ in range(2))
    undisturbed = attempt(calibration=rows, damping=1e-6)
    wanted, _ = finish(undisturbed)
    stop_after(first, 1)
    result, _ = finish(second)
    assert result.metrics["rtn_fallbacks"] == wanted.metrics["rtn_fallbacks"] > LINEARS
    assert read_tree(second.out("model")) == read_tree(undisturbed.out("model"))


def the_file(piece):
    (found,) = piece.iterdir()
    return found


def flip(at):
    def damage(kept):
        data = bytearray(the_file(kept / "layer-0000").read_bytes())
        data[at] ^= 1
        the_file(kept / "layer-0000").write_bytes(data)

    return damage


def cut(kept):
    file = the_file(kept / "layer-0000")
    file.write_bytes(file.read_bytes()[:-1])


def swap(kept):
    (kept / "layer-0000").rename(kept / "x")
    (kept / "layer-0001").rename(kept / "layer-0000")
    (kept / "x").rename(kept / "layer-0001")


DAMAGES = {
    "a bit of the header": flip(20),
    "a bit of the weights": flip(-1000),
    "cut": cut,
    "no file": lambda kept: the_file(kept / "layer-0000").unlink(),
    "two files": lambda kept: (kept / "layer-0000" / "more").touch(),
    "other order": swap,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_pieces_are_made_again(attempt, kept, read_tree, damage):
    first, second = attempt(kept), attempt(kept)
    finish(first)
    whole = read_tree(kept)
    DAMAGES[damage](kept)
    result, warned = finish(second)
    assert result.observed == {}
    assert len(warned) == 1
    assert "layer-0000 of an earlier attempt is not used" in warned[0]
    assert read_tree(second.out("model")) == read_tree(first.out("model"))
    assert read_tree(kept) == whole


def test_pieces_of_another_job_are_not_used(attempt, kept, tmp_path, read_tree):
    """Neither as the first, nor behind one that is right."""
    rows = write_tokens(tmp_path, np.random.default_rng(4).integers(0, 300, (8, 32)))
    first, other, second, third = attempt(kept), attempt(kept, damping=0.02), attempt(kept, calibration=rows), attempt()
    finish(first)
    mine = tmp_path / "mine"
    shutil.copytree(kept, mine)
    for space in (other, second):
        result, warned = finish(space)
        assert result.observed == {}
        assert "something else" in warned[0]
    shutil.rmtree(kept / "layer-0000")
    shutil.copytree(mine / "layer-0000", kept / "layer-0000")
    third.request["checkpoint"] = str(kept)
    result, warned = finish(third)
    assert result.observed == {"restored": "layer-0000"}
    assert "layer-0001" in warned[0]
    assert read_tree(third.out("model")) == read_tree(first.out("model"))
    assert read_tree(second.out("model")) != read_tree(first.out("model"))


def test_where_nothing_can_be_kept_the_job_goes_on(attempt, tmp_path, read_tree):
    (tmp_path / "file").touch()
    undisturbed, space = attempt(), attempt()
    space.request["checkpoint"] = str(tmp_path / "file" / "kept")
    finish(undisturbed)
    result, warned = finish(space)
    assert result.observed == {}
    assert [w for w in warned if "no longer kept" in w] == warned != []
    assert len(warned) == 1
    assert read_tree(space.out("model")) == read_tree(undisturbed.out("model"))
