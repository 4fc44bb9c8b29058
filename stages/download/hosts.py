"""Which hosts a download may talk to. A redirect is the server's word, not the recipe's: each hop is checked again."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tinfra_worker import BadParam, Job


def is_private(address: str) -> bool:
    """Whether an IP address is one of this machine's or of the network behind it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return not (mapped or ip).is_global or (mapped or ip).is_multicast


def addresses(host: str) -> list[str]:
    """All addresses of a name; none when it cannot be resolved here, as behind a proxy that resolves."""
    try:
        return [ipaddress.ip_address(host).compressed]
    except ValueError:
        pass
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)})
    except OSError:
        return []


@dataclass
class Guard:
    """The rules of one download."""

    allowed: tuple[str, ...] | None  # settings.allowed_hosts; None allows all
    first: str
    clear: str = ""  # host:port of an endpoint that the person named by http:// and that may be asked so
    inside: bool = field(init=False)  # the recipe itself names a private host, so private hops are its wish

    def __post_init__(self) -> None:
        self.inside = any(map(is_private, addresses(self.first)))

    def check_url(self, url: str, hop: bool) -> None:
        """:class:`BadParam` unless a request may go to this URL; `hop` when a redirect asks for it."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        via = f" (a redirect from {self.first})" if hop else ""
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.netloc.lower() == self.clear)
        if not secure or not host:
            raise BadParam("source", f"{parts.scheme}://{host}{via} is not https")
        if not self.is_allowed(host):
            raise BadParam(
                "source",
                f"host {host}{via} is not allowed",
                "add it to allowed_hosts in tinfra.hcl, if you trust it",
            )
        if hop:
            for address in addresses(host):
                self.check_address(host, address)

    def check_address(self, host: str, address: str) -> None:
        """:class:`BadParam` when a redirect leads to a private address.

        Asked again of the connection: what a name stands for can change in between.
        """
        if not self.inside and is_private(address):
            raise BadParam("source", f"{self.first} redirects to {host}, a private address ({address})")

    def is_allowed(self, host: str) -> bool:
        if self.allowed is None:
            return True
        return any(host == a or (a.startswith("*.") and host.endswith(a[1:])) for a in self.allowed)


def guard(job: Job, url: str) -> Guard:
    """The rules for a source, by the settings of the project."""
    allowed: Any = job.request.settings.get("allowed_hosts")
    if allowed is not None and not (isinstance(allowed, list) and all(isinstance(a, str) for a in allowed)):
        raise BadParam("source", "allowed_hosts in tinfra.hcl must be a list of host names")
    hosts = None if allowed is None else tuple(a.lower() for a in allowed)
    return Guard(hosts, (urlsplit(url).hostname or "").lower())
