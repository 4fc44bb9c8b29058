import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer


@pytest.fixture
def space(workspace, tiny):
    def make(samples=5, length=32, **inputs):
        made = workspace()
        made.request["params"] = {"samples": samples, "length": length}
        made.add_input("text", inputs.get("text", tiny / "text"), "dataset/text")
        made.add_input("tokenizer", inputs.get("tokenizer", tiny / "tokenizer"), "tokenizer/hf")
        made.request["outputs"] = {"tokens": "dataset/tokens"}
        return made

    return make


def test_samples_are_runs_of_the_text_evenly_spaced(space, tiny, read_tree):
    first, second = space(), space()
    done = first.run()
    assert done.code == 0, done.stderr
    assert second.run().code == 0
    assert read_tree(first.out("tokens")) == read_tree(second.out("tokens"))
    rows = load_file(first.out("tokens") / "tokens.safetensors")["input_ids"]
    assert rows.dtype == np.int64
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer" / "tokenizer.json"))
    ids = tokenizer.encode((tiny / "text" / "text.txt").read_text()).ids
    assert rows.tolist() == [ids[i * (len(ids) // 5) :][:32] for i in range(5)]
    assert done.metrics == {"samples": 5, "tokens": 160}
    assert done.result["observed"]["tokens_in_text"] == str(len(ids))


def test_files_are_read_in_order(space, tiny, tmp_path, read_tree):
    text = (tiny / "text" / "text.txt").read_text()
    cut = text.index("\n")  # the line end that joins files
    for name, content in {"parts/a/z.txt": text[:cut], "parts/b.txt": text[cut + 1 :], "whole/x.txt": text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    one, two = space(text=parts), space(text=whole)
    assert one.run().code == 0
    assert two.run().code == 0
    assert read_tree(one.out("tokens")) == read_tree(two.out("tokens"))


def test_too_little_text(space):
    done = space(samples=100, length=4096).run()
    assert done.code == 11
    assert done.problem["input"] == "text"
    assert "409600" in done.problem["message"]


@pytest.mark.parametrize(
    ("port", "name", "content"),
    [
        ("text", "text.txt", b"\xff\xfe"),
        ("text", "text.md", b"not a .txt"),
        ("text", "text.txt", b" \n"),
        ("tokenizer", "tokenizer.json", b"{}"),
        ("tokenizer", "tokenizer.model", b"sentencepiece"),
    ],
)
def test_bad_inputs(space, tmp_path, port, name, content):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / name).write_bytes(content)
    done = space(**{port: folder}).run()
    assert done.code == 11, done.stderr
    assert done.problem["input"] == port


def test_cancel(space, tiny, tmp_path):
    big = tmp_path / "big"
    big.mkdir()
    text = (tiny / "text" / "text.txt").read_text()
    (big / "t.txt").write_text(text * 300)
    shutil.copytree(tiny / "tokenizer", tmp_path / "tokenizer")
    done = space(text=big).cancel_at(bool)
    assert done.code == 143
    assert done.result is None
