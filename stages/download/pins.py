"""What a download must have brought."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tinfra_worker import BadInput, BadParam, Job

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
HINT = "run `tinfra lock --update` to take what the source serves now"


def sha256_of(path: Path) -> str:
    """The hex digest of a file, read in pieces."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def refuse_pickles(root: Path, files: list[Path]) -> None:
    """:class:`BadParam` when a file can run code on loading."""
    found = [str(p.relative_to(root)) for p in files if p.suffix.lower() in PICKLES]
    if found:
        raise BadParam(
            "allow_pickle",
            f"a pickle runs its author's code on loading: {', '.join(found[:5])}"
            + (f" and {len(found) - 5} more" if len(found) > 5 else ""),
            "take a source with safetensors, or set allow_pickle = true if you trust it",
        )


def check_sha256(path: Path, want: str, what: str) -> None:
    """:class:`BadInput` when a file is not the one that the source string names by its hash."""
    have = sha256_of(path)
    if have != want:
        raise BadInput(
            "", f"{what}: sha256 {want} was expected, {have} came", "the source string or the server is wrong"
        )


def check_pins(job: Job, root: Path, files: list[Path]) -> None:
    """Compare every file with the lock, path by path; all differences at once."""
    if job.request.pins is None:
        return
    have = {p.relative_to(root).as_posix(): p for p in files}
    want = {pin.path: pin for pin in job.request.pins}
    wrong = [f"{path} is locked and did not come" for path in sorted(want.keys() - have.keys())]
    wrong += [f"{path} came and is not locked" for path in sorted(have.keys() - want.keys())]
    for n, path in enumerate(sorted(want.keys() & have.keys()), 1):
        pin, size = want[path], have[path].stat().st_size
        if size != pin.size:
            wrong.append(f"{path}: {pin.size} bytes are locked, {size} came")
        elif (sha := sha256_of(have[path])) != pin.sha256:
            wrong.append(f"{path}: sha256 {pin.sha256} is locked, {sha} came")
        job.progress(n, len(want), "files", "checking")
    if wrong:
        raise BadInput("", "the source does not serve what is locked: " + "; ".join(wrong[:20]), HINT)
