"""Rules about hosts that need no server."""

import pytest

from download import hosts
from tinfra_worker import BadParam


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1"],
)
def test_private(address):
    assert hosts.is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public(address):
    assert not hosts.is_private(address)


@pytest.fixture
def names(monkeypatch):
    known = {"public.example": ["8.8.8.8"], "meta.example": ["169.254.169.254"], "both.example": ["8.8.8.8", "::1"]}
    real = hosts.addresses
    monkeypatch.setattr(hosts, "addresses", lambda h: known[h] if h in known else real(h))


@pytest.mark.parametrize("host", ["meta.example", "both.example", "127.0.0.1", "[::1]"])
def test_redirect_into_the_private_network(names, host):
    rules = hosts.Guard(None, "public.example")
    with pytest.raises(BadParam, match="private address"):
        rules.check_url(f"https://{host}/x", hop=True)
    rules.check_url("https://8.8.8.8/x", hop=True)


def test_private_recipe_may_stay_there(names):
    hosts.Guard(None, "127.0.0.1").check_url("https://meta.example/x", hop=True)


@pytest.mark.parametrize(
    ("host", "ok"),
    [("a.example", True), ("b.c.example", True), ("c.example", False), ("evilc.example", False), ("A.EXAMPLE", True)],
)
def test_allow_list(host, ok):
    rules = hosts.Guard(("a.example", "*.c.example"), "a.example")
    if ok:
        rules.check_url(f"https://{host}/", hop=False)
    else:
        with pytest.raises(BadParam, match="not allowed"):
            rules.check_url(f"https://{host}/", hop=False)
