"""https: sources against a TLS server of the test's own: no network."""

import hashlib
import http.server
import os
import socket
import ssl
import threading

import pytest
import trustme

BODY = os.urandom(300_000)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Range")))
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            self.answer(404, b"")
        else:
            route(self)

    def answer(self, code, body, **headers):
        self.send_response(code)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    made.routes = {"/model.gguf": lambda h: h.answer(200, BODY)}
    made.seen = []
    made.url = f"https://localhost:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def pin(path, data):
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_https(job, server):
    space = job(server.url + "/model.gguf?token=s3cret", pins=[pin("model.gguf", BODY)])
    done = space.run()
    assert done.code == 0, done.stderr
    assert (space.out("files") / "model.gguf").read_bytes() == BODY
    assert done.metrics == {"bytes": len(BODY)}
    bars = [e for e in done.events if e["type"] == "progress" and e["unit"] == "bytes"]
    assert (bars[-1]["done"], bars[-1]["total"]) == (len(BODY), len(BODY))
    assert "s3cret" not in str(done.events) + str(done.result)


def test_sha256_of_the_source(job, server):
    good = hashlib.sha256(BODY).hexdigest()
    assert job(f"{server.url}/model.gguf#sha256={good}").run().code == 0
    done = job(f"{server.url}/model.gguf#sha256={'0' * 64}").run()
    assert done.code == 11
    assert good in done.problem["message"]
    assert "0" * 64 in done.problem["message"]


@pytest.mark.parametrize(
    ("pins", "says"),
    [
        ([pin("model.gguf", b"x" * len(BODY))], [hashlib.sha256(BODY).hexdigest(), "model.gguf", "is locked"]),
        ([pin("model.gguf", b"short")], ["5 bytes are locked", "300000 came"]),
        ([pin("other", BODY)], ["other is locked and did not come", "model.gguf came and is not locked"]),
    ],
)
def test_what_is_locked_must_come(job, server, pins, says):
    done = job(server.url + "/model.gguf", pins=pins).run()
    assert done.code == 11
    assert done.result is None
    for words in says:
        assert words in done.problem["message"]


def hang_up(handler):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def broken_then_whole(etag, honours_range=True):
    """Half of the body, then the connection is cut; later requests are answered in full."""

    def answer(handler):
        wanted = handler.headers.get("Range")
        if len(handler.server.seen) == 1:
            handler.answer(200, BODY[:100_000], content_length=str(len(BODY)), etag=etag)
            hang_up(handler)
        elif wanted and honours_range:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}"
            handler.answer(206, BODY[begin:], content_range=span, etag=etag)
        else:
            handler.answer(200, BODY, etag=etag)

    return answer


def test_goes_on_where_the_connection_broke(job, server):
    server.routes["/model.gguf"] = broken_then_whole('"v1"')
    space = job(server.url + "/model.gguf", pins=[pin("model.gguf", BODY)])
    done = space.run()
    assert done.code == 0, done.stderr
    assert [r for _, r in server.seen] == [None, "bytes=100000-"]
    assert any("trying again" in e.get("message", "") for e in done.events)


@pytest.mark.parametrize(("etag", "ranges"), [('W/"weak"', True), ('"v1"', False)])
def test_starts_anew_where_it_cannot_go_on(job, server, etag, ranges):
    server.routes["/model.gguf"] = broken_then_whole(etag, ranges)
    space = job(server.url + "/model.gguf", pins=[pin("model.gguf", BODY)])
    assert space.run().code == 0
    assert len(server.seen) == 2


def test_always_truncated(job, server):
    def cut(handler):
        handler.answer(200, BODY[:1000], content_length=str(len(BODY)))
        hang_up(handler)

    server.routes["/model.gguf"] = cut
    done = job(server.url + "/model.gguf").run()
    assert done.code == 14
    assert len(server.seen) == 4


def test_busy_server(job, server):
    answers = iter([503, 429])

    def busy(handler):
        code = next(answers, 200)
        handler.answer(code, BODY if code == 200 else b"", **({} if code == 200 else {"retry_after": "1"}))

    server.routes["/model.gguf"] = busy
    assert job(server.url + "/model.gguf").run().code == 0
    server.routes["/model.gguf"] = lambda h: h.answer(503, b"", retry_after="86400")
    done = job(server.url + "/model.gguf").run()
    assert done.code == 14
    assert "503" in done.problem["message"]


@pytest.mark.parametrize(("code", "exit_code"), [(403, 10), (404, 10), (418, 10)])
def test_refusals(job, server, code, exit_code):
    server.routes["/model.gguf"] = lambda h: h.answer(code, b"")
    done = job(server.url + "/model.gguf").run()
    assert done.code == exit_code
    assert done.problem["param"] == "source"
    assert str(code) in done.problem["message"]
    assert len(server.seen) == 1


def redirect(to):
    return lambda h: h.answer(302, b"", location=to)


def test_redirects_are_followed(job, server):
    server.routes["/a/model.gguf"] = redirect("../model.gguf")
    space = job(server.url + "/a/model.gguf", settings={"allowed_hosts": ["localhost"]})
    done = space.run()
    assert done.code == 0, done.stderr
    assert (space.out("files") / "model.gguf").read_bytes() == BODY


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("http://localhost/model.gguf", "not https"),
        ("https://example.org/model.gguf", "host example.org (a redirect from localhost) is not allowed"),
        ("file:///etc/passwd", "not https"),
    ],
)
def test_redirects_are_checked_again(job, server, to, says):
    server.routes["/model.gguf"] = redirect(to)
    done = job(server.url + "/model.gguf", settings={"allowed_hosts": ["localhost", "*.example.org"]}).run()
    assert done.code == 10, done.stderr
    assert says in done.problem["message"]


def test_redirects_end(job, server):
    server.routes["/model.gguf"] = redirect("/model.gguf")
    done = job(server.url + "/model.gguf").run()
    assert done.code == 10
    assert "more than 10 times" in done.problem["message"]
    assert len(server.seen) == 11


def test_host_must_be_allowed(job, server):
    done = job(server.url + "/model.gguf", settings={"allowed_hosts": ["example.org"]}).run()
    assert done.code == 10
    assert server.seen == []


def test_unknown_authority(job, server, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    done = job(server.url + "/model.gguf").run({"SSL_CERT_FILE": str(other)})
    assert done.code == 10
    assert "not trusted" in done.problem["message"]
    assert "SSL_CERT_FILE" in done.problem["hint"]


def test_no_server(job, server):
    url = server.url.replace(str(server.server_address[1]), "1")
    done = job(url + "/model.gguf").run()
    assert done.code == 14
    assert "cannot reach localhost" in done.problem["message"]


def test_pickles_are_refused(job, server):
    server.routes["/pytorch_model.bin"] = lambda h: h.answer(200, BODY)
    done = job(server.url + "/pytorch_model.bin").run()
    assert done.code == 10
    assert done.problem["param"] == "allow_pickle"
    assert "pytorch_model.bin" in done.problem["message"]
    assert server.seen == []
    assert job(server.url + "/pytorch_model.bin", allow_pickle=True).run().code == 0


def test_cancel(job, server, authority):
    gate = threading.Event()

    def slow(handler):
        handler.answer(200, BODY[:200_000], content_length=str(10 * len(BODY)))
        gate.wait(60)

    server.routes["/model.gguf"] = slow
    space = job(server.url + "/model.gguf")
    done = space.cancel_at(
        lambda events: any(e.get("what") == "downloading" for e in events), {"SSL_CERT_FILE": str(authority.path)}
    )
    gate.set()
    assert done.code == 143
    assert done.result is None
