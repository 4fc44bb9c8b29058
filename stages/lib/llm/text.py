"""Text and tokenizer inputs, read the same way by every kind that tokenizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinfra_worker import BadInput, Job

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer


def read_text(job: Job, port: str) -> str:
    """All .txt files of an input in the order of their paths, joined by a line end; UTF-8."""
    root = job.input(port)
    files = sorted(root.rglob("*.txt"), key=lambda p: p.relative_to(root).as_posix())
    if not files:
        raise BadInput(port, f"input {port} holds no .txt file", "give it plain text, as the kind `text` makes")
    try:
        text = "\n".join(f.read_text(encoding="utf-8") for f in files)
    except UnicodeDecodeError as e:
        raise BadInput(port, f"input {port} is not UTF-8 text: {e}") from e
    if not text.strip():
        raise BadInput(port, f"input {port} holds no text")
    return text


def load_tokenizer(job: Job, port: str) -> Tokenizer:
    """tokenizer.json of an input, as it stands: transformers' own classes may replace its pre-tokenizer on loading."""
    from tokenizers import Tokenizer

    path = job.input(port) / "tokenizer.json"
    if not path.is_file():
        raise BadInput(port, f"input {port} holds no tokenizer.json", "only fast tokenizers are read")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as e:  # the library raises the base class
        raise BadInput(port, f"tokenizer.json cannot be read: {e}") from e


def encode(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The ids of a text, int64 [tokens], with no special token added."""
    import numpy as np

    tokenizer.no_truncation()
    tokenizer.no_padding()
    return np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
