"""A hub of the tests' own on loopback: what huggingface_hub asks for, a CDN of another origin, and xet's storage."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import trustme

LFS = (".safetensors", ".bin", ".gguf")
API = re.compile(r"/api/(models|datasets)/([\w.-]+(?:/[\w.-]+)?)/(revision|tree|xet-read-token)/([^/?]+)")
RESOLVE = re.compile(r"/(datasets/)?([\w.-]+(?:/[\w.-]+)?)/resolve/([^/]+)/(.+)")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    name: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    xet: bool = False
    moved_to: str = ""

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        """Add a commit of these files, and point a branch at it."""
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha


@dataclass
class Seen:
    server: str
    method: str
    path: str
    range: str | None
    token: str | None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        token = self.headers.get("Authorization")
        self.hub.seen.append(Seen(self.server.role, self.command, path, self.headers.get("Range"), token))
        if not any(fault(self, path) for fault in self.hub.faults):
            getattr(self, self.server.role)(path)

    do_HEAD = do_GET

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, code, kind, message):
        self.answer(code, b"{}", X_Error_Code=kind, X_Error_Message=message)

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def main(self, path):
        if asked := API.fullmatch(path):
            self.api(*map(unquote, asked.groups()))
        elif asked := RESOLVE.fullmatch(path):
            self.resolve(*map(unquote, asked.groups(default="")))
        else:
            self.error(404, "RepoNotFound", "Repository not found")

    def find(self, kind, name, revision, files):
        """The repository and the commit, or None when an error was answered."""
        repo = self.hub.repos.get((kind, name))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repo and repo.moved_to:
            self.answer(307, location=self.path.replace(name, repo.moved_to))
        elif token and token not in self.hub.tokens:
            self.error(401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and not token):
            self.error(401, "RepoNotFound", "Repository not found")
        elif files and repo.gated and not self.hub.tokens.get(token, False):
            self.error(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif (sha := repo.refs.get(revision, revision)) not in repo.commits:
            self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repo, sha
        return None

    def api(self, kind, name, verb, revision):
        found = self.find(kind, name, revision, files=verb == "xet-read-token")
        if not found:
            return
        repo, sha = found
        if verb == "revision":
            body = {"id": repo.name, "sha": sha, "private": repo.private, "siblings": []}
        elif verb == "tree":
            body = [self.entry(repo, p, data) for p, data in repo.commits[sha].items()]
        else:
            headers = {
                "X_Xet_Cas_Url": self.hub.cdn_url,
                "X_Xet_Access_Token": "xet-token",
                "X_Xet_Token_Expiration": str(int(time.time()) + 3600),
            }
            self.answer(200, b"{}", **headers)
            return
        self.answer(200, json.dumps(body).encode(), content_type="application/json")

    def entry(self, repo, path, data):
        found = {"type": "file", "path": path, "size": len(data), "oid": blob(data)}
        if path.endswith(LFS):
            size = self.hub.sizes.get(path, len(data))
            found |= {"size": size, "lfs": {"oid": sha256(data), "size": size, "pointerSize": 130}}
            if repo.xet:
                found["xetHash"] = sha256(data)
        return found

    def resolve(self, prefix, name, revision, path):
        found = self.find("datasets" if prefix else "models", name, revision, files=True)
        if not found:
            return
        repo, sha = found
        data = repo.commits[sha].get(path)
        if data is None:
            self.error(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X_Repo_Commit": sha, "ETag": f'"{blob(data)}"'}
        if not path.endswith(LFS):
            self.answer(200, self.hub.served.get(path, data), **headers)
            return
        headers |= {"X_Linked_Etag": f'"{sha256(data)}"', "X_Linked_Size": str(len(data))}
        if repo.xet:
            route = f"{self.hub.url}/api/models/{name}/xet-read-token/{sha}"
            headers |= {"X_Xet_Hash": sha256(data), "X_Xet_Refresh_Route": route}
        self.hub.blobs[sha256(data)] = self.hub.served.get(path, data)
        self.answer(302, location=f"{self.hub.cdn_url}/blob/{sha256(data)}?Signature=s3cret", **headers)

    def cdn(self, path):
        if path.startswith("/blob/"):
            self.ranged(self.hub.blobs[path.removeprefix("/blob/")])
        elif asked := re.fullmatch(r"/v1/reconstructions/(\w+)", path):
            self.reconstruct(asked[1])
        elif path.startswith("/xorb/"):
            self.ranged(xorb(self.hub.xet_blobs[path.removeprefix("/xorb/")])[0])
        else:
            self.answer(404)

    def ranged(self, data):
        """A body, or the part of it that was asked for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self.answer(200, data)
            return
        begin, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if begin >= len(data):
            self.answer(416)
            return
        self.answer(206, data[begin : end + 1], content_range=f"bytes {begin}-{end}/{len(data)}")

    def reconstruct(self, name):
        data = self.hub.xet_blobs[name]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        begin = int(wanted[1]) if wanted else 0
        if begin >= len(data):
            self.answer(416)
            return
        packed, chunks = xorb(data)
        url = f"{self.hub.cdn_url}/xorb/{name}"
        chunk_range = {"start": 0, "end": chunks}
        body = {
            "offset_into_first_range": begin,
            "terms": [{"hash": name, "unpacked_length": len(data), "range": chunk_range}],
            "fetch_info": {
                name: [{"range": chunk_range, "url": url, "url_range": {"start": 0, "end": len(packed) - 1}}]
            },
        }
        self.answer(200, json.dumps(body).encode(), content_type="application/json")


def xorb(data: bytes, chunk: int = 65536) -> tuple[bytes, int]:
    """Bytes as xet stores them, not compressed: chunks, each after a header of 8 bytes; and how many."""
    pieces = [data[i : i + chunk] for i in range(0, len(data), chunk)]
    packed = b"".join(
        struct.pack("<B", 0) + struct.pack("<I", len(p))[:3] + b"\0" + struct.pack("<I", len(p))[:3] + p for p in pieces
    )
    return packed, len(pieces)


class FakeHub:
    """Two TLS servers: the hub, and the CDN that it sends large files from."""

    def __init__(self, authority: trustme.CA) -> None:
        self.repos: dict[tuple[str, str], Repository] = {}
        self.tokens: dict[str, bool] = {}  # whether the token's account has accepted every licence
        self.seen: list[Seen] = []
        self.faults: list[Callable[[Handler, str], bool]] = []  # true: it has answered
        self.served: dict[str, bytes] = {}  # path → what comes in place of what is published
        self.sizes: dict[str, int] = {}  # path → the size that is published in place of the real one
        self.blobs: dict[str, bytes] = {}
        self.xet_blobs: dict[str, bytes] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self._servers = [self._start(context, role) for role in ("main", "cdn")]
        self.url, self.cdn_url = (
            f"https://{host}:{server.server_address[1]}"
            for host, (server, _) in zip(("localhost", "127.0.0.1"), self._servers, strict=True)
        )

    def _start(self, context, role):
        handler = type("Bound", (Handler,), {"hub": self})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.role = role
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        return server, thread

    def close(self) -> None:
        for server, thread in self._servers:
            server.shutdown()
            thread.join()
            server.server_close()

    def repo(self, name: str, files: dict[str, bytes], kind: str = "models", **more: bool) -> Repository:
        """Add a repository with one commit on main."""
        made = Repository(name, **more)
        made.commit(files)
        self.repos[kind, name] = made
        for data in files.values():
            self.xet_blobs[sha256(data)] = data
        return made

    def asked(self, method: str = "GET", server: str = "main") -> list[str]:
        """Paths that were asked for, in order."""
        return [s.path for s in self.seen if s.method == method and s.server == server]

    def path_of(self, url: str) -> str:
        return urlsplit(url).path


class Proxy:
    """An HTTP proxy that only knows CONNECT, and remembers for whom."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._tunnel, args=(client,)))
            self._threads[-1].start()

    def _tunnel(self, client):
        with client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = client.recv(1)
                if not piece:
                    return
                head += piece
            target = head.split()[1].decode()
            self.asked.append(target)
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client))
                back.start()
                pump(client, server)
                back.join()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Bytes until one side ends."""
    try:
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
