"""The hub's own client, made to keep the house's rules: where it may go, what it may send, where it may write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from download.hosts import Guard, guard
from download.https import BUSY, check_peer, retry_after
from tinfra_worker import BadParam, Job, Transient

if TYPE_CHECKING:
    import httpx

HUB = "https://huggingface.co"
PIECE = 1 << 16  # bytes; what a cut costs at most. The client's own 10 MiB are lost whole, however often
TIMEOUT = 60.0  # seconds; of one read, not of the whole
LIMITS = {"connect": 20.0, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}  # seconds


@dataclass
class Hub:
    """An endpoint, who asks, and under which rules."""

    endpoint: str
    token: str | None
    rules: Guard
    xet: bool

    def headers(self) -> dict[str, str]:
        """Of every request for a file. Packed bodies are refused: their offsets would mean nothing."""
        from huggingface_hub.utils import build_hf_headers

        return {**build_hf_headers(token=self.token or False), "Accept-Encoding": "identity"}

    def headers_for(self, url: str) -> dict[str, str]:
        """Of requests that another library sends by itself: the token is left out where the hub names another place."""
        return {k: v for k, v in self.headers().items() if self.is_own(url) or k.lower() != "authorization"}

    def make_client(self) -> httpx.Client:
        """What huggingface_hub sends all of its requests with."""
        import httpx

        return httpx.Client(
            event_hooks={"request": [self.before], "response": [self.after]},
            follow_redirects=True,
            timeout=httpx.Timeout(**LIMITS),
        )

    def before(self, request: httpx.Request) -> None:
        """Called for each request, those that a redirect or a list's next page asks for too."""
        own = self.is_own(str(request.url))
        self.rules.check_url(str(request.url), hop=not own)
        if not own:
            request.headers.pop("Authorization", None)
        waits = request.extensions.get("timeout", {})
        # The client asks for lists without any: a hub that falls silent would hold the stage up for ever.
        request.extensions["timeout"] = {**LIMITS, **{name: value for name, value in waits.items() if value}}

    def after(self, response: httpx.Response) -> None:
        """Look at each response before the client does, which would wait for as long as a server says, silently."""
        host = response.url.host
        if not self.is_own(str(response.url)):
            check_peer(self.rules, host, response)
        code = response.status_code
        if code in BUSY or code >= 500:
            hint = "try again later" + (
                ", or set HF_TOKEN: the hub lets accounts ask more often" if code == 429 else ""
            )
            raise Transient(f"{host} answers {code}", hint if not self.token else "try again later", pause(response))

    def is_own(self, url: str) -> bool:
        """Whether a URL is of the endpoint itself."""
        return urlsplit(url)[:2] == urlsplit(self.endpoint)[:2]


def pause(response: httpx.Response) -> float | None:
    """Seconds that a busy hub asks for: Retry-After, or its own header on rates."""
    from huggingface_hub.utils import parse_ratelimit_headers

    asked = retry_after(response.headers.get("retry-after"))
    rate = parse_ratelimit_headers(response.headers)
    if asked is None and rate is not None and rate.remaining == 0:
        return float(rate.reset_in_seconds)
    return asked


def connect(job: Job) -> Hub:
    """Set the client up. Comes before huggingface_hub is first imported, which reads its settings then."""
    endpoint = endpoint_of(job)
    token = os.environ.pop("HF_TOKEN", "").strip() or None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise BadParam(
            "token", "HF_TOKEN holds characters that no token has", "copy it anew, without blanks or line ends"
        )
    rules = guard(job, endpoint)
    if endpoint.startswith("http://"):
        rules.clear = urlsplit(endpoint).netloc.lower()
        if token:
            raise BadParam("source", f"{endpoint} is not https: a token is not sent there", "name it by https://")
    rules.check_url(endpoint, hop=False)
    # The storage of xet hands out addresses that nobody here gets to see, so with a list of hosts it stays off.
    xet = rules.allowed is None and os.environ.get("HF_HUB_DISABLE_XET", "0").lower() in ("", "0", "false", "no", "off")
    home = job.workspace / "home" / "huggingface"
    os.environ |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_XET_CACHE": str(home / "xet"),
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_XET_TELEMETRY_ENABLED": "0",
    }
    # By default xet buffers up to 6 GB; the kind declares 1 GiB.
    for name, size in {"SIZE": "256mb", "PERFILE_SIZE": "64mb", "LIMIT": "512mb"}.items():
        os.environ.setdefault(f"HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_{name}", size)
    hub = Hub(endpoint, token, rules, xet)
    from huggingface_hub import constants, set_client_factory

    constants.DOWNLOAD_CHUNK_SIZE = PIECE
    set_client_factory(hub.make_client)
    return hub


def endpoint_of(job: Job) -> str:
    """The hub, or a mirror of it: HF_ENDPOINT, else what tinfra.hcl says."""
    import httpx

    named = os.environ.get("HF_ENDPOINT") or job.request.settings.get("endpoint") or HUB
    where = "HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else "endpoint in tinfra.hcl"
    try:
        parts, url = urlsplit(named), httpx.URL(named)
    except (ValueError, TypeError, AttributeError, httpx.InvalidURL):
        parts = None
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        given = f", not {named!r}" if "@" not in str(named) else ""  # a password may stand before it
        raise BadParam("source", f"{where} must be an address, as in {HUB}{given}")
    if parts.username or parts.password:
        raise BadParam("source", f"{where} must hold no password")
    return str(url).rstrip("/")  # as requests have it: lower case, no :443
