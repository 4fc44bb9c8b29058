"""Archives and folders that mean harm: whatever their names say, nothing is written but below the output."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from download import hub, local, pypi
from download.source import parse
from tinfra_worker import BadInput, BadParam

if TYPE_CHECKING:
    from conftest import Workspace
    from tinfra_worker import Job

NAME = "toy_model-1.0-py3-none-any.whl"


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A folder with the output's own in it, of which nothing but the output may have changed in the end."""
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder").mkdir()
    before = tree(tmp_path)
    yield tmp_path
    assert tree(tmp_path) == before


def tree(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.partition("/")[0] in ("out", "wheel", "work1"):
            continue
        found[name] = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "folder"
    return found


@pytest.fixture
def job(canary: Path, workspace: Callable[..., Workspace]) -> Job:
    return workspace().job()


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("x")
    made.filename = name  # past the constructor, which would make it harmless
    made.external_attr = mode << 16
    return made


def wheel(root: Path, *members: tuple[zipfile.ZipInfo, bytes]) -> Path:
    (root / "wheel").mkdir(exist_ok=True)
    with zipfile.ZipFile(root / "wheel" / NAME, "w") as z:
        for info, data in members:
            z.writestr(info, data)
    return root / "wheel" / NAME


LINK, FILE, FIFO, CHARACTER, BLOCK, SOCKET, FOLDER = (
    0o120777,
    0o100644,
    0o010644,
    0o020644,
    0o060644,
    0o140644,
    0o040755,
)

HOSTILE = {
    "absolute": [entry("/secret")],
    "absolute, the real one": [entry("{root}/secret")],
    "two slashes": [entry("//secret")],
    "climbs": [entry("../secret")],
    "climbs within": [entry("a/../../secret")],
    "climbs to the output": [entry("a/..")],
    "backslash": [entry("..\\secret")],
    "drive and backslash": [entry("C:\\secret")],
    "dot": [entry("./a")],
    "symlink": [entry("a", LINK)],
    "symlink, then a file behind it": [entry("a", LINK), entry("a/secret")],
    "named pipe": [entry("a", FIFO)],
    "character device": [entry("a", CHARACTER)],
    "block device": [entry("a", BLOCK)],
    "socket": [entry("a", SOCKET)],
    "folder that is a file": [entry("a", FOLDER)],
    "twice": [entry("a"), entry("a")],
    "letter case": [entry("a/readme"), entry("a/README")],
    "letter case, German": [entry("straße"), entry("STRASSE")],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_wheel_is_refused(case: str, canary: Path, job: Job) -> None:
    members = [(entry(m.filename.format(root=canary), m.external_attr >> 16), b"evil") for m in HOSTILE[case]]
    if "symlink" in case:
        members[0] = (members[0][0], str(canary / "folder").encode())
    with pytest.raises(BadInput) as told:
        pypi.unpack(job, wheel(canary, *members), "**", canary / "out")
    assert NAME in told.value.message
    assert list((canary / "out").iterdir()) == []


# What one system keeps and another does not is laid out here, and refused where outputs are stored.
ODD = {
    "Unicode forms": ["é", "e\u0301"],
    "letter case of a folder": ["A/x", "a/y"],
    "device of Windows": ["CON", "aux.txt", "NUL"],
    "drive": ["C:secret"],
    "control characters": ["a\x1b[2J"],
    "a NUL, behind which a reader stops": ["a\0../../secret"],
}


@pytest.mark.parametrize("case", ODD)
def test_wheel_with_odd_names_stays_inside(case: str, canary: Path, job: Job) -> None:
    pypi.unpack(job, wheel(canary, *((entry(n), b"x") for n in ODD[case])), "**", canary / "out")
    made = [p for p in (canary / "out").rglob("*") if p.is_file()]
    assert len(made) == len(ODD[case])
    assert not any(p.is_symlink() for p in made)


@pytest.mark.parametrize("names", [["x" * 256], ["x/" * 2500 + "x"], ["a", "a/b"], ["a/b", "a"]])
def test_wheel_that_cannot_be_laid_out(names: list[str], canary: Path, job: Job) -> None:
    with pytest.raises(OSError, match=r"File name too long|File exists|Not a directory|Is a directory"):
        pypi.unpack(job, wheel(canary, *((entry(n), b"x") for n in names)), "**", canary / "out")


def test_wheel_of_two_directories(canary: Path, job: Job) -> None:
    """The list at the end names another file than the one that lies there."""
    path = wheel(canary, (entry("aa/secret"), b"evil"))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"aa/secret", b"../secret", 1))
    with pytest.raises(BadInput, match="damaged"):
        pypi.unpack(job, path, "**", canary / "out")


@pytest.mark.parametrize("keep", [0, 1, 10, 40, 60])
def test_wheel_that_is_cut(keep: int, canary: Path, job: Job) -> None:
    path = wheel(canary, (entry("a"), b"evil" * 10))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="damaged"):
        pypi.unpack(job, path, "**", canary / "out")


def test_wheel_that_lies_about_sizes(canary: Path, job: Job) -> None:
    """No more comes of a member than the list says, and its checksum holds."""
    with zipfile.ZipFile(wheel(canary), "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a", b"\0" * 10_000_000)
    path = canary / "wheel" / NAME
    raw = bytearray(path.read_bytes())
    at = bytes(raw).rindex(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 10)
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="damaged"):
        pypi.unpack(job, path, "**", canary / "out")
    assert (canary / "out" / "a").stat().st_size <= 10


@pytest.mark.parametrize(
    "case", [c for c, members in HOSTILE.items() if not any(m.external_attr for m in members)] + ["long", *ODD]
)
def test_names_of_a_repository_are_refused(case: str) -> None:
    names = ["x" * 256] if case == "long" else ODD.get(case) or [m.filename.format(root="/tmp") for m in HOSTILE[case]]
    if case in ("twice", "device of Windows"):
        hub.check_names(names)  # a listing is a map, and a system without such names is asked for nothing
        return
    with pytest.raises(BadInput):
        hub.check_names(names)


def test_folder_with_links_and_devices(canary: Path, job: Job) -> None:
    def refused(says: str) -> None:
        with pytest.raises(BadParam, match=says):
            local.fetch(job, parse(f"file:{folder}"), canary / "out")

    folder = canary / "wheel" / "folder"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(canary / "secret")
    refused("leaves the folder")
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    refused("no regular file")
    (folder / "pipe").unlink()
    (folder / "out").symlink_to(canary / "folder", target_is_directory=True)
    (folder / "inside").symlink_to("a")
    (folder / "a").write_text("a")
    os.link(folder / "a", folder / "hard")
    local.fetch(job, parse(f"file:{folder}"), canary / "out")
    made = {p.name: p for p in (canary / "out").iterdir()}
    assert made.keys() == {"a", "hard", "inside"}
    assert not any(p.is_symlink() for p in made.values())
    assert len({p.stat().st_ino for p in made.values()}) == 3
    assert {hashlib.sha256(p.read_bytes()).hexdigest() for p in made.values()} == {hashlib.sha256(b"a").hexdigest()}
