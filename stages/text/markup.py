"""MediaWiki markup to prose. It keeps paragraphs that read as text and drops what would need a real renderer."""

from __future__ import annotations

import html
import re

SHORTEST = 80  # characters of a paragraph; less is a caption or what is left of a template

_CLOSING = {
    "references",
    "external links",
    "see also",
    "further reading",
    "notes",
    "bibliography",
    "sources",
    "footnotes",
}
_BLOCKS = re.compile(r"<(math|gallery|timeline|table|div|code|source|pre)\b.*?</\1>", re.S | re.I)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_TABLE = re.compile(r"\{\|[^{}]*\|\}")
_MEDIA = re.compile(r"\[\[(?:File|Image|Category|[a-z\-]{2,12}):[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]", re.I)
_HEADING = re.compile(r"^(==+).*\1$")


def prose(markup: str) -> str:
    """The paragraphs of an article up to its references, a blank line between two."""
    lines = []
    for raw in _strip(markup).split("\n"):
        line = raw.strip()
        if _HEADING.match(line):
            if line.strip("= ").lower() in _CLOSING:
                break
            continue
        if not line or line[0] in "*#:;|!{}" or len(line) < SHORTEST or re.search(r"[{}|\[\]]", line):
            continue
        lines.append(re.sub(r"\s+", " ", line))
    return "\n\n".join(lines)


def _strip(markup: str) -> str:
    text = html.unescape(markup)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<ref[^>/]*/>", "", text)
    text = re.sub(r"<ref.*?</ref>", "", text, flags=re.S)
    text = _BLOCKS.sub("", text)
    for _ in range(8):  # templates nest; so many levels occur
        inner = _TABLE.sub("", _TEMPLATE.sub("", text))
        if inner == text:
            break
        text = inner
    text = re.sub(r"\{\|.*?\n\|\}", "", text, flags=re.S)
    for _ in range(4):
        text = _MEDIA.sub("", text)
    text = re.sub(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1", text)
    text = re.sub(r"\[https?://\S+\s+([^\]]*)\]", r"\1", text)
    text = re.sub(r"\[?https?://\S+\]?", "", text)
    text = re.sub(r"'{2,}", "", text)
    return re.sub(r"<[^>]+>", "", text)
