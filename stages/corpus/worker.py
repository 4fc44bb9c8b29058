"""One plain text of a dataset's files, read by the `datasets` library."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from tinfra_worker import BadInput, BadParam, Job, run

# Builder of the library by the file's name, packed or not.
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".txt": "text"}
PACKED = {".gz", ".bz2", ".xz", ".zst"}


def main(job: Job) -> None:
    files = find(job)
    most = job.params.get("documents")
    separator, column = job.param("separator", str), job.param("column", str)
    written = documents = 0
    with (job.output("text") / "text.txt").open("wb") as out:
        for text in itertools.islice(texts(files, column), most):
            data = ((separator if documents else "") + text).encode()
            out.write(data)
            written += len(data)
            documents += 1
            job.progress(documents, most or 0, "documents", "reading")
    if not written:
        raise BadInput("files", f"column {column!r} of {len(files)} files holds no text")
    job.metric("documents", documents)
    job.metric("bytes", written)


def find(job: Job) -> list[Path]:
    """The files that the glob names, by path, all of one format."""
    root, pattern = job.input("files"), job.param("file", str)
    try:
        found = sorted((p for p in root.glob(pattern) if p.is_file()), key=lambda p: p.relative_to(root).as_posix())
    except (ValueError, NotImplementedError) as e:
        raise BadParam("file", f"{pattern!r} is no glob: {e}") from e
    if not found:
        have = ", ".join(sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())[:10])
        raise BadInput("files", f"no file matches {pattern!r}. The input holds: {have or 'nothing'}")
    kinds = {format_of(p) for p in found}
    if len(kinds) > 1:
        names = ", ".join(sorted(k or "unknown" for k in kinds))
        raise BadParam("file", f"{pattern!r} matches files of several formats: {names}", "name the files of one")
    if kinds == {None}:
        known = ", ".join(FORMATS)
        raise BadInput("files", f"{found[0].name} is of no format that is known here: {known}, packed or not")
    return found


def format_of(path: Path) -> str | None:
    """The library's name of a file's format, or None."""
    suffixes = path.suffixes
    if suffixes and suffixes[-1].lower() in PACKED:
        suffixes.pop()
    return FORMATS.get(suffixes[-1].lower()) if suffixes else None


def texts(files: list[Path], column: str) -> Iterator[str]:
    """The text of each row, read as a stream: nothing is unpacked to disk, and memory stays small."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    kind = format_of(files[0]) or ""
    # Line by line the library would lose which file a line came from; a plain text is one document.
    options = {"sample_by": "document"} if kind == "text" else {}
    try:
        rows = load_dataset(kind, data_files=[str(f) for f in files], split="train", streaming=True, **options)
        for row in rows:
            value = row.get(column)
            if value is None and column in row:
                continue  # a document without a text is none
            if not isinstance(value, str):
                held = ", ".join(sorted(row))
                raise BadParam("column", f"column {column!r} holds no text; the columns are: {held}")
            yield value
    except (DatasetGenerationError, ValueError, OSError, EOFError) as e:
        raise BadInput("files", f"the files cannot be read as {kind}: {e}") from e


if __name__ == "__main__":
    run(main)
