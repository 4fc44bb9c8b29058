"""The rules that every request of the hub's client is put under."""

from types import SimpleNamespace

import httpx
import pytest

from download.client import TIMEOUT, Hub, endpoint_of
from download.hosts import Guard


@pytest.fixture
def hub():
    return Hub("https://hub.invalid/api", "hf_token", Guard(None, "hub.invalid"), xet=False)


def asked(hub, url, **how):
    with hub.make_client() as client:
        request = client.build_request("GET", url, headers=hub.headers(), **how)
    hub.before(request)
    return request


def test_no_request_waits_for_ever(hub):
    assert asked(hub, "https://hub.invalid/list", timeout=None).extensions["timeout"]["read"] == TIMEOUT
    assert asked(hub, "https://hub.invalid/list").extensions["timeout"]["read"] == TIMEOUT
    assert asked(hub, "https://hub.invalid/list", timeout=10).extensions["timeout"]["connect"] == 10


def test_token_stays_with_the_hub(hub):
    """The next page of a list is at an address that the hub names, and it is asked with the headers of the first."""
    assert asked(hub, "https://hub.invalid:443/list?page=2").headers["Authorization"] == "Bearer hf_token"
    for other in ("https://cdn.invalid/list", "https://hub.invalid:444/list", "https://hub.invalid.evil.invalid/"):
        assert "Authorization" not in asked(hub, other).headers
        assert hub.headers_for(other) == {k: v for k, v in hub.headers().items() if k.lower() != "authorization"}
    assert hub.headers_for("https://hub.invalid/api/token") == hub.headers()


@pytest.mark.parametrize(
    ("named", "endpoint"),
    [
        ("https://Hub.Invalid:443/", "https://hub.invalid"),
        ("http://mirror:80/hf/", "http://mirror/hf"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_endpoints_are_written_as_requests_have_them(monkeypatch, named, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", named)
    job = SimpleNamespace(request=SimpleNamespace(settings={}))
    assert endpoint_of(job) == endpoint
    assert str(httpx.URL(endpoint)).rstrip("/") == endpoint
