"""Plain text of a MediaWiki dump, in a part for calibration and a part held out."""

from __future__ import annotations

import bz2
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from text.markup import prose
from tinfra_worker import BadInput, Job, run


def main(job: Job) -> None:
    path = job.one_file("files", job.param("file", str), "name one file by the param `file`")
    least, every = job.param("min_chars", int), job.param("every", int)
    parts: dict[str, list[str]] = {"calibration": [], "heldout": []}
    kept = 0
    for done, (title, markup) in enumerate(articles(path), 1):
        text = prose(markup)
        if len(text) >= least:
            parts["calibration" if kept % every else "heldout"].append(f" = {title} = \n\n{text}\n")
            kept += 1
        job.progress(done, unit="articles", what=f"{kept} kept")
    if kept < 2:
        raise BadInput(
            "files", f"{path.name} gives {kept} articles of {least} characters; 2 are needed", "lower min_chars"
        )
    for name, found in parts.items():
        data = "\n".join(found).encode()
        (job.output(name) / f"{name}.txt").write_bytes(data)
        job.metric(f"{name}_articles", len(found))
        job.metric(f"{name}_bytes", len(data))
    # Wikipedia's terms; who passes the text on must say so too.
    job.label("license", "CC-BY-SA-3.0")
    job.observe("attribution", "Wikipedia contributors; the title of each article stands before its text")


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Title and markup of each page of the main namespace that is no redirect, in the order of the dump."""
    try:
        # expat refuses entity bombs since 2.4.1, and no element is kept after its page.
        with bz2.open(path) as dump:
            for _, element in ET.iterparse(dump, events=("end",)):  # noqa: S314
                if local(element) != "page":
                    continue
                found = page(element)
                element.clear()
                if found:
                    yield found
    except (ET.ParseError, OSError, EOFError, ValueError) as e:
        raise BadInput("files", f"{path.name} is no sound bzip2 MediaWiki dump: {e}") from e


def local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def page(element: ET.Element) -> tuple[str, str] | None:
    fields = {local(child): child for child in element.iter()}
    text = fields["text"].text or "" if "text" in fields else ""
    if "title" not in fields or "redirect" in fields or text.upper().startswith("#REDIRECT"):
        return None
    if "ns" in fields and fields["ns"].text != "0":
        return None
    return fields["title"].text or "", text


if __name__ == "__main__":
    run(main)
