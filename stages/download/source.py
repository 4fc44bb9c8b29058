"""The source string of a download: scheme:rest#name=value&name=value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from tinfra_worker import BadParam

SHAPES = "hf://ORG/NAME[@REVISION][#include=GLOB&exclude=GLOB], pypi:NAME==VERSION#path=GLOB, https://…, file:PATH"
OPTIONS = {"hf": {"include", "exclude"}, "pypi": {"path", "sha256"}, "https": {"sha256"}, "file": {"sha256"}}
REPEATED = {"include", "exclude"}  # may stand more than once


@dataclass(frozen=True)
class Source:
    """A source taken apart. `rest` is what stands between the scheme's colon and the fragment."""

    scheme: str
    rest: str
    options: dict[str, str]
    lists: dict[str, tuple[str, ...]]  # of the options that may stand more than once
    shown: str  # for people: a query may hold a token, so it is left out


def parse(text: str) -> Source:
    """Take a source apart; :class:`BadParam` says what is wrong with it."""
    head, _, fragment = text.partition("#")
    scheme, colon, rest = head.partition(":")
    if not colon or scheme not in OPTIONS:
        hint = "write https:// instead" if scheme == "http" else f"a source is one of: {SHAPES}"
        raise BadParam("source", f"{head.partition('?')[0]!r} is no source that is known here", hint)
    try:
        # Unlike in a form a + is itself, as in torch-2.0+cpu; and a value that is empty by mistake is not no check.
        plain = fragment.replace("+", "%2B")
        pairs = parse_qsl(plain, keep_blank_values=True, strict_parsing=True) if fragment else []
    except ValueError as e:
        raise BadParam("source", f"what stands after # must be name=value, not {fragment!r}") from e
    options = {name: value for name, value in pairs if name not in REPEATED}
    lists = {name: tuple(v for n, v in pairs if n == name) for name in sorted(REPEATED)}
    for name, _ in pairs:
        if name not in OPTIONS[scheme]:
            known = ", ".join(sorted(OPTIONS[scheme]))
            raise BadParam("source", f"{name!r} is no option of a {scheme}: source; known are {known}")
        if name in options and sum(n == name for n, _ in pairs) > 1:
            raise BadParam("source", f"{name}= stands twice in {head.partition('?')[0]}")
    if "sha256" in options and not re.fullmatch(r"[0-9a-f]{64}", options["sha256"]):
        raise BadParam("source", "sha256 must be 64 lower-case hex digits")
    if scheme == "https":
        url = urlsplit(head)
        if not head.startswith("https://") or not url.hostname:
            raise BadParam("source", "an https source needs a host: https://host/path")
        if url.username or url.password:
            raise BadParam("source", "a source must hold no password: it is written to the lock and to records")
    return Source(scheme, rest, options, lists, head.partition("?")[0])
