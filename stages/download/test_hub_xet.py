"""hf:// files that the hub keeps in xet's storage: the tests' hub serves such a storage too."""

import io
import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from download import transfer
from download.client import Hub
from download.hosts import Guard
from download.repo import Repo
from download.tests.hub_server import sha256
from download.transfer import Commit, Wanted

BODY = os.urandom(300_000)
FILES = {"config.json": b"{}", "model.safetensors": BODY}
BIG = os.urandom(11 << 20)


@pytest.fixture
def toy(hub):
    return hub.repo("org/toy", FILES, xet=True)


def by_xet(hub):
    return [s for s in hub.seen if s.path.startswith("/xorb/")]


def by_https(hub):
    return [s for s in hub.seen if s.path.startswith("/blob/")]


def test_xet(get, hub, toy):
    hub.tokens["hf_friend"] = True
    space = get("hf://org/toy", env={"HF_TOKEN": "hf_friend"})
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY
    assert by_xet(hub)
    assert not by_https(hub)
    assert {s.token for s in hub.seen if s.server == "cdn"} <= {"Bearer xet-token", None}
    assert not [s.path for s in hub.seen if "telemetry" in s.path]
    written = [p.relative_to(space.root).parts[0] for p in space.root.rglob("*") if p.is_file()]
    assert set(written) <= {"request.json", "result.json", "events.jsonl", "stdout", "stderr", "out", "home", "tmp"}


def test_wrong_bytes(get, hub, toy):
    """Xet's client does not compare what it put together with the file's hash: this is done here."""
    hub.xet_blobs[sha256(BODY)] = BODY[:-1] + bytes([BODY[-1] ^ 1])
    done = get("hf://org/toy").run()
    assert done.code == 11, done.problem
    assert by_xet(hub)
    for words in ("model.safetensors", sha256(BODY), "twice"):
        assert words in done.problem["message"]


def test_goes_on_with_a_half(get, hub, toy, tmp_path):
    half = tmp_path / "checkpoint" / "hub" / f"sha256-{sha256(BODY)}"
    half.parent.mkdir(parents=True)
    half.write_bytes(BODY[:100_000])
    space = get("hf://org/toy", checkpoint=str(tmp_path / "checkpoint"))
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY
    asked = [s.range for s in hub.seen if "/reconstructions/" in s.path]
    assert asked
    assert all(r.startswith("bytes=100000-") for r in asked)


def test_storage_that_fails(get, hub, toy):
    def broken(handler, path):
        if "/reconstructions/" in path:
            handler.answer(403)
            return True
        return False

    hub.faults.append(broken)
    space = get("hf://org/toy")
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY
    assert by_https(hub)
    assert any("going on by https" in e.get("message", "") for e in done.events)


@pytest.mark.parametrize(("pieces", "whole"), [([], False), ([b"ab"], False), ([b"ab", b"cd"], True)])
def test_a_stream_that_ends_early(monkeypatch, pieces, whole):
    """It has been seen to end so, with no error, when the storage failed: https has the rest."""
    group = SimpleNamespace(download_stream=lambda *_, **__: iter(pieces))
    session = SimpleNamespace(new_download_stream_group=lambda **_: nullcontext(group))
    known = SimpleNamespace(endpoint="https://xet.invalid", access_token="", expiration_unix_epoch=0)
    monkeypatch.setattr("huggingface_hub.utils._xet.get_xet_session", lambda: session)
    monkeypatch.setattr("huggingface_hub.utils._xet.refresh_xet_connection_info", lambda **_: known)
    source = Commit(
        Hub("https://hub.invalid", None, Guard(None, "hub.invalid"), xet=True), Repo("model", "a/b", ""), ""
    )
    job, sink = SimpleNamespace(log=lambda *_: None), io.BytesIO()
    assert transfer.by_xet(job, source, Wanted("model.safetensors", 4, xet="0" * 64), sink) is whole
    assert sink.getvalue() == b"".join(pieces)


def test_mirror_that_gives_no_token(get, hub, toy):
    def mute(handler, path):
        if "/xet-read-token/" in path:
            handler.answer(200, b"{}")
            return True
        return False

    hub.faults.append(mute)
    done = get("hf://org/toy").run()
    assert done.code == 0, done.problem
    assert by_https(hub)


@pytest.mark.parametrize(
    "off", [{"env": {"HF_HUB_DISABLE_XET": "1"}}, {"settings": {"allowed_hosts": ["localhost", "127.0.0.1"]}}]
)
def test_switched_off(get, hub, toy, off):
    assert get("hf://org/toy", **off).run().code == 0
    assert not by_xet(hub)
    assert by_https(hub)


def test_a_locked_large_file(get, hub):
    """Without a listing a large file's name in the storage is asked of the hub, a small one's is not."""
    files = {"config.json": b"{}", "model.safetensors": BIG}
    commit = hub.repo("org/big", files, xet=True).refs["main"]
    pins = [{"path": p, "sha256": sha256(d), "size": len(d)} for p, d in files.items()]
    space = get("hf://org/big", pins=pins, resolved={"commit": commit})
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BIG
    assert hub.asked("HEAD") == [f"/org/big/resolve/{commit}/model.safetensors"]
    assert by_xet(hub)
