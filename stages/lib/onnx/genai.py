"""The tokenizer's files beside a graph, as onnxruntime-genai reads them.

genai chooses its code by `tokenizer_class`, and knows fewer names than transformers has. So the files are copied as
they stand, and only that name is changed, to the first with which genai gives the ids that tokenizer.json gives.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tinfra_worker import BadInput, Fault

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "chat_template*",
)  # fmt: skip
CLASSES = ("GPT2Tokenizer", "PreTrainedTokenizerFast", "Qwen2Tokenizer", "LlamaTokenizer")

# What tells pre-tokenizers apart: digits, spaces, line ends, marks, other scripts, bytes that no merge knows. Numerals
# that are no digits are left out: onnxruntime-genai 0.18 splits " ½" otherwise than SmolLM2's tokenizer, by any class.
PROBES = (
    "Hello, world! It's 2026-11-23 and 12345678 tokens cost $3.50.",
    "  two  spaces\n\n\tand a tab;\r\nline ends \n",
    "don't WE'LL I'd\u00a0naïve café Zürich 東京 Привет 👩\u200d🔬",
    "def f(x):\n    return x**2 + 10_000  # comment\n\n\n",
)

_CHILD = """
import json, sys
import onnxruntime_genai
onnxruntime_genai.disable_telemetry_events()
tokenizer = onnxruntime_genai.Tokenizer(sys.argv[1])
print(json.dumps([tokenizer.encode(text).tolist() for text in json.load(sys.stdin)]))
"""


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy a tokenizer's files, those that there are."""
    for pattern in FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, out / file.name)


def settle_class(out: Path, port: str) -> bool:
    """Make genai read the tokenizer of a folder right; False where no class does, and the files are as they were.

    The folder must hold genai_config.json. :class:`BadInput` names the port whose tokenizer is damaged.
    """
    described = out / "tokenizer_config.json"
    before = described.read_bytes() if described.exists() else None
    try:
        config = json.loads(before or b"{}")
    except ValueError as e:
        raise BadInput(port, f"tokenizer_config.json cannot be read: {e}") from e
    own = str(config.get("tokenizer_class", ""))
    want = _expected(out / "tokenizer.json", port)
    for name in filter(None, (own, *CLASSES)):
        if name != own:
            text = json.dumps({**config, "tokenizer_class": name}, indent=2, ensure_ascii=False)
            described.write_text(text + "\n", encoding="utf-8")
        if _read_by_genai(out) == want:
            return True
    if before is None:
        described.unlink(missing_ok=True)
    else:
        described.write_bytes(before)
    return False


def _expected(path: Path, port: str) -> list[list[int]]:
    from tokenizers import Tokenizer

    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as e:  # the library raises the base class
        raise BadInput(port, f"tokenizer.json cannot be read: {e}") from e
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [tokenizer.encode(text).ids for text in PROBES]


def _read_by_genai(folder: Path) -> list[list[int]] | None:
    """The ids of the probes; None when genai cannot read the tokenizer.

    In a process of its own: onnxruntime-genai 0.18 dies by a segmentation fault on models other than BPE and the like.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", _CHILD, str(folder)],
        input=json.dumps(PROBES),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    # 1 is what Python gives for a refusal by genai. A kill for want of memory must not pass for one: the class that is
    # written would depend on the machine.
    if done.returncode not in (1, -signal.SIGSEGV, -signal.SIGABRT) or "ImportError" in done.stderr:
        raise Fault(f"onnxruntime-genai could not be asked (exit {done.returncode}): {done.stderr.strip()[-500:]}")
    return None
