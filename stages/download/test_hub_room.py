"""Whether a download of the hub fits on the disk, and what has come of it."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from download.folder import weights_of
from download.transfer import Wanted, have, room
from tinfra_worker import Resources


def test_room_for_the_copy_too(monkeypatch, tmp_path):
    """The weights lie in two ports in the end; a disk that fills then has thrown away all that came."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=150))
    room(tmp_path, [Wanted("model.safetensors", 100)], 50)
    with pytest.raises(Resources, match="100 bytes are to come and 51 to be copied"):
        room(tmp_path, [Wanted("model.safetensors", 100)], 51)


@pytest.mark.parametrize(
    ("paths", "copied"),
    [
        (["config.json", "model.safetensors", "tokenizer.json"], ["model.safetensors"]),
        (
            ["a/config.json", "a/x.safetensors", "a/y.safetensors", "z.safetensors"],
            ["a/x.safetensors", "a/y.safetensors"],
        ),
        (["config.json", "model.safetensors", "b/config.json", "b/model.safetensors"], []),
        (["model.safetensors"], []),
        (["config.json"], []),
    ],
)
def test_what_is_copied(paths, copied):
    assert weights_of(paths) == copied


def test_a_file_that_goes_while_it_is_measured(monkeypatch, tmp_path):
    """Wrong bytes are removed by the file's own thread, while the main one adds up what has come."""
    monkeypatch.setattr(Path, "exists", lambda self: True)
    assert have(tmp_path / "gone") == 0
