import gzip
import json

import pytest


@pytest.fixture
def space(workspace, tmp_path):
    def make(files, **params):
        folder = tmp_path / "dataset"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        made = workspace()
        made.request["params"] = {"file": "**/*", "column": "text", "separator": "\n\n", **params}
        made.add_input("files", folder, "files")
        made.request["outputs"] = {"text": "dataset/text"}
        return made

    return make


def parquet(tmp_path, rows):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "made.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": rows}), path)
    return path.read_bytes()


def text_of(space):
    return (space.out("text") / "text.txt").read_text()


def lines(*texts):
    return "".join(json.dumps({"text": t, "n": 1}) + "\n" for t in texts).encode()


def test_parquet_files_in_the_order_of_their_paths(space, tmp_path):
    made = space(
        {
            "b/test-1.parquet": parquet(tmp_path, ["third"]),
            "a/test-0.parquet": parquet(tmp_path, ["first ü", "", "second"]),
            "README.md": b"no data",
        },
        file="**/*.parquet",
    )
    done = made.run()
    assert done.code == 0, done.stderr
    assert text_of(made) == "first ü\n\n\n\nsecond\n\nthird"
    assert done.metrics == {"documents": 4, "bytes": len("first ü\n\n\n\nsecond\n\nthird".encode())}


def test_packed_json_lines_and_a_limit(space, read_tree):
    made = space({"c4.json.gz": gzip.compress(lines("one", "two", "three"))}, documents=2, separator="|")
    assert made.run().code == 0
    assert text_of(made) == "one|two"


def test_a_row_without_a_text_is_no_document(space, tmp_path):
    made = space({"a.parquet": parquet(tmp_path, ["one", None, "two"])}, separator="|")
    done = made.run()
    assert done.code == 0, done.stderr
    assert text_of(made) == "one|two"
    assert done.metrics["documents"] == 2


def test_plain_text_is_one_document_a_file(space):
    made = space({"1.txt": b"a\nb\n", "2.txt": b"c"}, separator="--")
    assert made.run().code == 0
    assert text_of(made) == "a\nb\n--c"


@pytest.mark.parametrize(
    ("files", "params", "where", "says"),
    [
        ({"x.jsonl": lines("a")}, {"column": "body"}, "param", "n, text"),
        ({"x.jsonl": b'{"text": 3}\n'}, {}, "param", "holds no text"),
        ({"x.jsonl": b"{broken"}, {}, "input", "cannot be read as json"),
        ({"x.parquet": b"PAR1 but short"}, {}, "input", "cannot be read as parquet"),
        ({"x.jsonl.gz": gzip.compress(lines("a" * 9999))[:40]}, {}, "input", "cannot be read as json"),
        ({"x.bin": b"1"}, {}, "input", "no format that is known"),
        ({"x.jsonl": lines("a"), "x.txt": b"b"}, {}, "param", "several formats: json, text"),
        ({"x.jsonl": lines("a")}, {"file": "*.parquet"}, "input", "The input holds: x.jsonl"),
        ({"x.jsonl": lines("")}, {}, "input", "holds no text"),
    ],
)
def test_what_does_not_fit_is_named(space, files, params, where, says):
    done = space(files, **params).run()
    assert done.code == {"param": 10, "input": 11}[where], done.stderr
    assert says in done.problem["message"]
