"""hf:// sources against a hub of the tests' own: what comes, what is asked, what the lock keeps."""

import json
import os

import pytest

from download.tests.hub_server import blob, sha256

BODY = os.urandom(300_000)
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "LICENSE": b"free",
    "README.md": b"# toy",
    ".gitattributes": b"*.bin filter=lfs",
    "model.safetensors": BODY,
    "pytorch_model.bin": os.urandom(1000),
    "original/consolidated.00.pth": os.urandom(1000),
    "toy-Q4_0.gguf": os.urandom(1000),
    "onnx/model.onnx": os.urandom(1000),
    "trainer_state.json": b"{}",
}
DEFAULT = {"config.json", "tokenizer.json", "LICENSE", "model.safetensors"}


def pins(files):
    return [{"path": p, "sha256": sha256(d), "size": len(d)} for p, d in files.items()]


def names(space):
    root = space.out("files")
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def test_model(get, hub, read_tree):
    repo = hub.repo("org/toy", FILES)
    space = get("hf://org/toy")
    done = space.run()
    assert done.code == 0, done.problem if done.events else done.stderr
    assert names(space) == DEFAULT
    assert read_tree(space.out("files"))["model.safetensors"] == BODY
    assert set(read_tree(space.out("model"))) == {"config.json", "model.safetensors"}
    assert set(read_tree(space.out("tokenizer"))) == {"tokenizer.json"}
    assert done.result["resolved"] == {"commit": repo.refs["main"]}
    assert done.result["observed"]["source"] == "hf://org/toy"
    assert done.metrics == {"bytes": sum(len(FILES[p]) for p in DEFAULT)}
    bars = [e for e in done.events if e.get("what") == "downloading"]
    assert bars[-1]["done"] == bars[-1]["total"] == done.metrics["bytes"]
    left = [p for p in space.root.rglob("*") if p.is_symlink()]
    assert not left, "links in the workspace"


def test_every_file_comes_of_the_commit_that_main_was(get, hub):
    commit = hub.repo("org/toy", FILES).refs["main"]
    assert get("hf://org/toy").run().code == 0
    assert not hub.asked("HEAD"), "the listing says all of it"
    files = [p for p in hub.asked() if "/resolve/" in p]
    assert {p.split("/resolve/")[1].partition("/")[0] for p in files} == {commit}
    assert len(files) == len(DEFAULT)


def test_locked_commit_is_fetched_though_the_branch_moved(get, hub, read_tree):
    repo = hub.repo("org/toy", FILES)
    old = repo.refs["main"]
    repo.commit({**FILES, "config.json": b"other"})
    locked = {p: FILES[p] for p in DEFAULT}
    space = get("hf://org/toy", pins=pins(locked), resolved={"commit": old})
    done = space.run()
    assert done.code == 0, done.problem
    assert read_tree(space.out("files")) == locked
    assert not [p for p in hub.asked() if p.startswith("/api/")], "a complete lock leaves nothing to ask"
    assert len(hub.asked()) == len(DEFAULT)


def test_a_lock_from_before_commits_were_kept(get, hub):
    repo = hub.repo("org/toy", FILES)
    done = get("hf://org/toy", pins=pins({p: FILES[p] for p in DEFAULT})).run()
    assert done.code == 0, done.problem
    assert done.result["resolved"]["commit"] == repo.refs["main"]


def test_what_is_locked_must_be_what_the_commit_holds(get, hub):
    repo = hub.repo("org/toy", FILES)
    wrong = {**{p: FILES[p] for p in DEFAULT}, "config.json": b'{"model_type": "lllll"}'}
    done = get("hf://org/toy", pins=pins(wrong), resolved={"commit": repo.refs["main"]}).run()
    assert done.code == 11
    for words in ("config.json", sha256(wrong["config.json"]), sha256(FILES["config.json"])):
        assert words in done.problem["message"]
    missing = {"config.json": FILES["config.json"], "vocab.json": b"{}"}
    done = get("hf://org/toy", pins=pins(missing), resolved={"commit": repo.refs["main"]}).run()
    assert done.code == 10
    assert "no vocab.json at commit" in done.problem["message"]
    assert "tinfra lock --update" in done.problem["hint"]


@pytest.mark.parametrize("revision", ["v1", "refs/pr/1", "0" * 40])
def test_revisions(get, hub, revision):
    repo = hub.repo("org/toy", FILES)
    other = repo.commit({**FILES, "config.json": b"of the tag"}, ref="v1")
    repo.refs["refs/pr/1"] = repo.refs["0" * 40] = other
    space = get(f"hf://org/toy@{revision}")
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "config.json").read_bytes() == b"of the tag"
    assert done.result["resolved"]["commit"] == other


def test_dataset(get, hub):
    hub.repo("org/text", {"a/train.jsonl": b"{}", "README.md": b"", ".gitattributes": b""}, kind="datasets")
    space = get("hf://datasets/org/text")
    done = space.run()
    assert done.code == 0, done.problem
    assert names(space) == {"a/train.jsonl", "README.md"}


@pytest.mark.parametrize(
    ("fragment", "want"),
    [
        ("include=*.gguf", {"toy-Q4_0.gguf"}),
        ("include=onnx/**&include=config.json", {"onnx/model.onnx", "config.json"}),
        (
            "include=**&exclude=**/*.p*&exclude=*.bin",
            set(FILES) - {"original/consolidated.00.pth", "pytorch_model.bin"},
        ),
        ("exclude=LICENSE", DEFAULT - {"LICENSE"}),
    ],
)
def test_patterns(get, hub, fragment, want):
    hub.repo("org/toy", FILES)
    space = get(f"hf://org/toy#{fragment}")
    done = space.run()
    assert done.code == 0, done.problem
    assert names(space) == want


def test_a_plus_is_a_plus(get, hub):
    hub.repo("org/plus", {"a+b.txt": b"", "a b.txt": b"1", "c+d.txt": b"2"})
    space = get("hf://org/plus#include=a+b.txt&include=c%2Bd.txt")
    done = space.run()
    assert done.code == 0, done.problem
    assert names(space) == {"a+b.txt", "c+d.txt"}


def test_shards_and_other_forms_of_the_same_weights(get, hub):
    shards = {f"model-0000{n}-of-00002.safetensors": os.urandom(500) for n in (1, 2)}
    index = {"model.safetensors.index.json": b"{}"}
    other = {"consolidated.safetensors": b"c" * 9, "model.fp16.safetensors": b"f" * 9, "pytorch_model.bin": b"p"}
    hub.repo("org/shards", {"config.json": b"{}", **shards, **index, **other})
    space = get("hf://org/shards")
    assert space.run().code == 0
    assert names(space) == {"config.json", *shards, *index}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("hf:org/toy", "no // after hf:"),
        ("hf://org/toy/config.json", "names more than a repository"),
        ("hf://spaces/org/toy", "neither a model nor a dataset"),
        ("hf://org/../toy", "names more than a repository"),
        ("hf://../toy", "cannot be the name"),
        ("hf://org/toy@", "cannot be a revision"),
        ("hf://org/toy@a b", "cannot be a revision"),
        ("hf://org/toy#path=x", "no option of a hf: source"),
        ("hf://org/toy#include=", "no file matches include="),
        ("file:toy#sha256=", "sha256 must be 64"),
        ("hf://org/toy#include=*.onnx", "no file matches include=*.onnx"),
        ("hf://org/toy#include=LICENSE&exclude=*", "no file is left"),
        ("hf://org/gguf", "neither *.safetensors nor pytorch_model*.bin"),
    ],
)
def test_bad_sources(get, hub, source, says):
    hub.repo("org/toy", FILES)
    hub.repo("org/gguf", {"a.gguf": b"g"})
    done = get(source).run()
    assert done.code == 10, done.stderr
    assert done.problem["param"] == "source"
    assert says in done.problem["message"]


def test_pickles_are_refused_before_they_come(get, hub):
    hub.repo("org/old", {p: FILES[p] for p in ("config.json", "tokenizer.json", "pytorch_model.bin")})
    done = get("hf://org/old").run()
    assert done.code == 10
    assert done.problem["param"] == "allow_pickle"
    assert "pytorch_model.bin" in done.problem["message"]
    assert not [p for p in hub.asked() if "/resolve/" in p]


def test_allowed_pickles_are_in_files_only(get, hub):
    hub.repo("org/old", {p: FILES[p] for p in ("config.json", "tokenizer.json", "pytorch_model.bin")})
    space = get("hf://org/old", allow_pickle=True)
    done = space.run()
    assert done.code == 0, done.problem
    assert names(space) == {"config.json", "tokenizer.json", "pytorch_model.bin"}
    assert not list(space.out("model").iterdir())


def test_what_comes_does_not_depend_on_allow_pickle(get, hub):
    """Two stages may share an entry of the lock, which goes by the source."""
    hub.repo("org/toy", FILES)
    spaces = [get("hf://org/toy", allow_pickle=allowed) for allowed in (False, True)]
    assert [s.run().code for s in spaces] == [0, 0]
    assert names(spaces[0]) == names(spaces[1]) == DEFAULT


@pytest.mark.parametrize("bad", ["../evil", "/evil", "a/../../evil", "a\\evil"])
def test_names_that_climb_out(get, hub, bad):
    hub.repo("org/toy", {bad: b"x"})
    space = get("hf://org/toy#include=**")
    done = space.run()
    assert done.code in (10, 11)
    assert not list(space.root.parent.rglob("evil"))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (["a.json", "A.json"], "holds A.json and a.json, which cannot both be kept"),
        (["D/a.json", "d/b.json"], "holds D and d/b.json, which cannot both be kept"),
        (["ren\u00e9e.json", "REN\u00c9E.json"], "cannot both be kept"),
        (["rene\u0301e.json"], "not every system can keep"),
        (["a\tb.json"], "not every system can keep"),
        (["x" * 256], "not every system can keep"),
        (["c:a.json"], "not every system can keep"),
    ],
)
def test_names_that_no_manifest_may_hold(get, hub, bad, says):
    hub.repo("org/toy", dict.fromkeys(bad, b"1"))
    done = get("hf://org/toy#include=**").run()
    assert done.code == 11, done.stderr
    assert says in done.problem["message"]
    assert "#exclude=" in done.problem["hint"]
    assert not [p for p in hub.asked() if "/resolve/" in p]


def test_the_same_bytes_under_two_names(get, hub, read_tree):
    files = {"a.safetensors": BODY, "b.safetensors": BODY}
    hub.repo("org/twins", files)
    space = get("hf://org/twins")
    assert space.run().code == 0
    assert read_tree(space.out("files")) == files
    assert len([s for s in hub.seen if s.server == "cdn"]) == 1


def test_token_goes_to_the_hub_and_nowhere_else(get, hub):
    hub.repo("org/secret", FILES, private=True)
    hub.tokens["hf_s3cretS3cret"] = True
    space = get("hf://org/secret", env={"HF_TOKEN": "hf_s3cretS3cret"})
    done = space.run()
    assert done.code == 0, done.problem
    assert {s.token for s in hub.seen if s.server == "main"} == {"Bearer hf_s3cretS3cret"}
    assert {s.token for s in hub.seen if s.server == "cdn"} == {None}
    told = json.dumps(done.events) + json.dumps(done.result) + done.stderr + (space.root / "stdout").read_text()
    assert "hf_s3cret" not in told
    assert "s3cret" not in told, "a signed address was told"
    for path in space.root.rglob("*"):
        assert not path.is_file() or b"hf_s3cret" not in path.read_bytes(), path


def test_blob_ids_are_git_s_own():
    assert blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
