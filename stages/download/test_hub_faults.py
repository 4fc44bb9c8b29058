"""hf:// sources when the hub, its CDN or the network fail: what is mended, and what is said of the rest."""

import os
import threading

import pytest
import trustme

from download.tests.hub_server import Proxy, sha256

BODY = os.urandom(300_000)
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": BODY}


def once(*answers):
    """A fault for requests whose path holds `part`: each answer once, then none."""
    left = list(answers)
    lock = threading.Lock()

    def fault(handler, path):
        with lock:
            found = next((entry for entry in left if entry[0] in path), None)
            if found is None:
                return False
            left.remove(found)
        found[1](handler)
        return True

    return fault


def always(part, answer):
    def fault(handler, path):
        if part not in path:
            return False
        answer(handler)
        return True

    return fault


PIECE = 1 << 16  # bytes that are written at once


def cut(handler):
    handler.answer(200, BODY[:100_000], content_length=str(len(BODY)))
    handler.hang_up()


def status(code, **headers):
    return lambda handler: handler.answer(code, b"", **headers)


def ranges(hub):
    return [s.range for s in hub.seen if s.server == "cdn"]


def test_goes_on_where_the_connection_was_cut(get, hub):
    hub.repo("org/toy", FILES)
    hub.faults.append(once(("/blob/", cut)))
    space = get("hf://org/toy")
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY
    assert ranges(hub) == [None, f"bytes={PIECE}-"]


def test_goes_on_for_as_long_as_bytes_come(get, hub):
    """Far more cuts than a retry has tries, each after some bytes."""
    hub.repo("org/toy", FILES)

    def nibble(handler):
        begin = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        code, headers = (206, {"content_range": f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}"}) if begin else (200, {})
        rest = BODY[begin:]
        handler.answer(code, rest[:70_000], content_length=str(len(rest)), **headers)
        if len(rest) > 70_000:
            handler.hang_up()

    hub.faults.append(always("/blob/", nibble))
    space = get("hf://org/toy")
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY


def test_the_next_attempt_goes_on_where_a_killed_one_was(get, hub, tmp_path):
    hub.repo("org/toy", FILES)
    gate = threading.Event()

    def stuck(handler):
        handler.answer(200, BODY[:100_000], content_length=str(len(BODY)))
        gate.wait(60)

    hub.faults.append(once(("/blob/", stuck)))
    kept = tmp_path / "checkpoint"
    kept.mkdir()
    first = get("hf://org/toy", checkpoint=str(kept))
    process = first.begin()
    half = kept / "hub" / f"sha256-{sha256(BODY)}"
    while not (half.exists() and half.stat().st_size):
        assert process.poll() is None, first.outcome(process).problem
        threading.Event().wait(0.01)
    process.kill()
    process.wait()
    gate.set()
    size = half.stat().st_size
    space = get("hf://org/toy", checkpoint=str(kept))
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY
    assert ranges(hub)[-1] == f"bytes={size}-"
    assert done.result["observed"]["restored"] == "hub"
    assert any("are here from an earlier attempt" in e.get("message", "") for e in done.events)


def test_a_damaged_half_is_fetched_anew(get, hub, tmp_path):
    hub.repo("org/toy", FILES)
    half = tmp_path / "checkpoint" / "hub" / f"sha256-{sha256(BODY)}"
    half.parent.mkdir(parents=True)
    half.write_bytes(bytes(100_000))
    space = get("hf://org/toy", checkpoint=str(tmp_path / "checkpoint"))
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY
    assert ranges(hub) == ["bytes=100000-", None]
    assert any("asking for it anew" in e.get("message", "") for e in done.events)


def test_a_server_that_cannot_go_on(get, hub, tmp_path):
    hub.repo("org/toy", FILES)
    half = tmp_path / "checkpoint" / "hub" / f"sha256-{sha256(BODY)}"
    half.parent.mkdir(parents=True)
    half.write_bytes(BODY[:100_000])
    hub.faults.append(always("/blob/", lambda h: h.answer(200, BODY)))
    space = get("hf://org/toy", checkpoint=str(tmp_path / "checkpoint"))
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY


def test_busy_for_a_while(get, hub):
    hub.repo("org/toy", FILES)
    hub.faults.append(
        once(
            ("/revision/", status(429, retry_after="1")),
            ("/tree/", status(503)),
            ("/resolve/", status(500)),
            ("/blob/", status(429, RateLimit='"resolvers";r=0;t=1')),
        )
    )
    done = get("hf://org/toy").run()
    assert done.code == 0, done.problem
    said = " ".join(e.get("message", "") for e in done.events)
    for words in ("429", "503", "500", "trying again in 1 s"):
        assert words in said


@pytest.mark.parametrize("part", ["/revision/", "/resolve/", "/blob/"])
@pytest.mark.parametrize("headers", [{"retry_after": "86400"}, {"RateLimit": '"api";r=0;t=300'}])
def test_busy_for_too_long(get, hub, part, headers):
    hub.repo("org/toy", FILES)
    hub.faults.append(always(part, status(429, **headers)))
    done = get("hf://org/toy").run()
    assert done.code == 14, done.problem
    assert "429" in done.problem["message"]
    assert "HF_TOKEN" in done.problem["hint"]


def swapped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("wrong", [swapped, lambda data: data[:-1], lambda data: data + b"x"])
def test_wrong_bytes(get, hub, path, wrong):
    """The published hash is asked of every file, whether it is locked or not."""
    hub.repo("org/toy", FILES)
    hub.served[path] = wrong(FILES[path])
    space = get("hf://org/toy")
    done = space.run()
    assert done.code == 11, done.problem
    assert done.result is None
    assert not list(space.out("files").rglob("*.*"))
    assert path in done.problem["message"]
    assert "twice" in done.problem["message"]
    if path == "model.safetensors" and wrong is swapped:
        assert sha256(FILES[path]) in done.problem["message"]
        assert sha256(hub.served[path]) in done.problem["message"]


def test_where_nothing_came_nothing_is_kept(get, hub, tmp_path):
    hub.repo("org/llama", FILES, gated=True)
    kept = tmp_path / "checkpoint"
    kept.mkdir()
    assert get("hf://org/llama", checkpoint=str(kept)).run().code == 10
    assert not list(kept.iterdir())


def test_wrong_bytes_once(get, hub):
    hub.repo("org/toy", FILES)
    hub.faults.append(once(("/blob/", lambda h: h.answer(200, swapped(BODY)))))
    space = get("hf://org/toy")
    done = space.run()
    assert done.code == 0, done.problem
    assert (space.out("files") / "model.safetensors").read_bytes() == BODY


def test_gated(get, hub):
    hub.repo("org/llama", FILES, gated=True)
    done = get("hf://org/llama").run()
    assert done.code == 10
    for words in ("accept the licence of org/llama on its page", f"{hub.url}/org/llama", "HF_TOKEN", "secret("):
        assert words in done.problem["hint"]
    hub.tokens["hf_stranger"] = False
    done = get("hf://org/llama", env={"HF_TOKEN": "hf_stranger"}).run()
    assert done.code == 10
    assert "has no access" in done.problem["message"]
    assert "accept the licence of org/llama" in done.problem["hint"]
    hub.tokens["hf_friend"] = True
    assert get("hf://org/llama", env={"HF_TOKEN": "hf_friend"}).run().code == 0


@pytest.mark.parametrize(
    ("source", "token", "says"),
    [
        ("hf://org/nothing", "", ["no model org/nothing", "private", "HF_TOKEN"]),
        ("hf://org/private", "", ["no model org/private", "private", "HF_TOKEN"]),
        ("hf://datasets/org/toy", "", ["no dataset org/toy"]),
        ("hf://org/toy@v9", "", ["no revision v9", "branch, a tag or a commit"]),
        ("hf://org/toy", "hf_wrong", ["does not know the token", "Invalid credentials"]),
        ("hf://org/nothing", "hf_good", ["no model org/nothing", "token's account"]),
    ],
)
def test_refusals(get, hub, source, token, says):
    hub.repo("org/toy", FILES)
    hub.repo("org/private", FILES, private=True)
    hub.tokens["hf_good"] = True
    done = get(source, env={"HF_TOKEN": token}).run()
    assert done.code == 10, done.stderr
    assert done.problem["param"] == "source"
    for words in says:
        assert words in done.problem["message"] + done.problem["hint"]
    assert "hf_wrong" not in str(done.events)


@pytest.mark.parametrize("token", ["hf_one\nhf_two", "hf_one hf_two", "hf_öne"])
def test_what_cannot_be_a_token(get, hub, token):
    hub.repo("org/toy", FILES)
    done = get("hf://org/toy", env={"HF_TOKEN": token}).run()
    assert done.code == 10, done.stderr
    assert done.problem["param"] == "token"
    assert "hf_" not in str(done.events) + done.stderr
    assert hub.seen == []


def test_a_locked_commit_that_is_gone(get, hub):
    hub.repo("org/toy", FILES)
    pin = {"path": "model.safetensors", "sha256": sha256(BODY), "size": len(BODY)}
    done = get("hf://org/toy", pins=[pin], resolved={"commit": "f" * 40}).run()
    assert done.code == 10
    assert f"no commit {'f' * 40} any more" in done.problem["message"]
    assert "tinfra lock --update" in done.problem["hint"]


def test_a_repository_that_moved(get, hub):
    hub.repo("old/toy", {}).moved_to = "new/toy"
    commit = hub.repo("new/toy", FILES).refs["main"]
    space = get("hf://old/toy")
    done = space.run()
    assert done.code == 0, done.problem
    assert done.result["resolved"] == {"commit": commit, "repository": "new/toy"}
    assert any("old/toy is called new/toy now" in e.get("message", "") for e in done.events)
    # Once it is locked, whoever takes the old name gets no say.
    hub.repo("old/toy", {"config.json": b"mine now"})
    pins = [{"path": p, "sha256": sha256(d), "size": len(d)} for p, d in FILES.items()]
    assert get("hf://old/toy", pins=pins, resolved=done.result["resolved"]).run().code == 0


def test_no_network(get, hub):
    closed = hub.url.rpartition(":")[0] + ":1"
    done = get("hf://org/toy", env={"HF_ENDPOINT": closed}).run()
    assert done.code == 14
    assert "cannot reach localhost" in done.problem["message"]
    for words in ("HTTPS_PROXY", "HF_ENDPOINT", "tinfra.hcl"):
        assert words in done.problem["hint"]


def test_unknown_authority(get, hub, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    done = get("hf://org/toy").run({"SSL_CERT_FILE": str(other)})
    assert done.code == 10
    assert "not trusted" in done.problem["message"]


def test_mirror_by_tinfra_hcl(get, hub):
    hub.repo("org/toy", FILES)
    none = {"HF_ENDPOINT": ""}
    assert get("hf://org/toy", env=none, settings={"endpoint": hub.url + "/"}).run().code == 0
    asked = len(hub.seen)
    assert get("hf://org/toy", settings={"endpoint": "https://mirror.invalid"}).run().code == 0, "HF_ENDPOINT wins"
    assert len(hub.seen) > asked


def test_proxy(get, hub):
    hub.repo("org/toy", FILES)
    proxy = Proxy()
    try:
        done = get("hf://org/toy", env={"HTTPS_PROXY": proxy.url}).run()
    finally:
        proxy.close()
    assert done.code == 0, done.problem
    assert {f"https://{target}" for target in proxy.asked} == {hub.url, hub.cdn_url}


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("mirror.example.org", "must be an address"),
        ("https://mirror.example.org:hf", "must be an address"),
        ("https://me:pw@[::1", "must be an address"),
        ("https://me:pw@mirror.example.org", "must hold no password"),
        ("http://mirror.example.org", "a token is not sent there"),
    ],
)
def test_bad_endpoints(get, endpoint, says):
    done = get("hf://org/toy", env={"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_token"}).run()
    assert done.code == 10
    assert says in done.problem["message"]
    assert "me:pw" not in str(done.events) + done.stderr


def test_only_allowed_hosts_are_asked(get, hub):
    hub.repo("org/toy", FILES)
    done = get("hf://org/toy", settings={"allowed_hosts": ["example.org"]}).run()
    assert done.code == 10
    assert "host localhost is not allowed" in done.problem["message"]
    assert hub.seen == []
    done = get("hf://org/toy", settings={"allowed_hosts": ["localhost"]}).run()
    assert done.code == 10
    assert "host 127.0.0.1 (a redirect from localhost) is not allowed" in done.problem["message"]
    assert not [s for s in hub.seen if s.server == "cdn"]
    both = {"allowed_hosts": ["localhost", "127.0.0.1"]}
    assert get("hf://org/toy", settings=both).run().code == 0


@pytest.mark.parametrize("to", ["http://127.0.0.1/x", "file:///etc/passwd"])
def test_redirects_that_leave_https(get, hub, to):
    hub.repo("org/toy", FILES)
    hub.faults.append(always("/resolve/", status(302, location=to)))
    done = get("hf://org/toy").run()
    assert done.code == 10, done.problem
    assert "is not https" in done.problem["message"]


def test_disk_full(get, hub):
    hub.repo("org/huge", FILES)
    hub.sizes["model.safetensors"] = 10**18
    done = get("hf://org/huge").run()
    assert done.code == 13
    assert str(10**18)[:6] in done.problem["message"]
    assert not [p for p in hub.asked() if "/resolve/" in p]


def test_cancel(get, hub):
    hub.repo("org/toy", FILES)
    gate = threading.Event()

    def slow(handler):
        handler.answer(200, BODY[:100_000], content_length=str(len(BODY)))
        gate.wait(60)

    hub.faults.append(always("/blob/", slow))
    space = get("hf://org/toy")
    done = space.cancel_at(
        lambda events: any(e.get("done", 0) >= PIECE for e in events),
        {**space.shell, "SSL_CERT_FILE": str(space.authority)},
    )
    gate.set()
    assert done.code == 143
    assert done.result is None
