"""Globs over paths in an archive or a repository."""

from __future__ import annotations

import re


def matcher(glob: str) -> re.Pattern[str]:
    """A glob as a pattern: * and ? stay within a folder, ** goes through folders."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(words.get(p, re.escape(p)) for p in parts))
