"""The tokenizer that a GGUF file describes.

transformers 5.17 rebuilds a `llama` file's tokenizer as if it were SentencePiece: no pre-tokenizer, wrong special
tokens (43 tokens where SmolLM2's own gives 19). So it is built here from the file's fields. GGUF only names the
pre-tokenizer (`tokenizer.ggml.pre`); what a name means is in llama.cpp's llama-vocab.cpp and in the tokenizer.json that
the model was published with.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tinfra_worker import BadInput, Job

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

CONTROL, USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


class Scheme(NamedTuple):
    """What a name in `tokenizer.ggml.pre` stands for."""

    splitter: dict[str, Any]
    # transformers and onnxruntime-genai choose their code by the class's name; those below keep the ids right.
    tokenizer_class: str
    normalizer: dict[str, Any] | None = None
    ignore_merges: bool = False  # a word that is in the vocabulary as a whole skips the merges


PRE = {
    "gpt-2": Scheme(_GPT2, "GPT2Tokenizer"),
    "smollm": Scheme(_sequence({"type": "Digits", "individual_digits": True}, _GPT2), "GPT2Tokenizer"),
    "llama-bpe": Scheme(_sequence(_split(_WORDS % "{1,3}"), _BYTES), "PreTrainedTokenizerFast", ignore_merges=True),
    "qwen2": Scheme(_sequence(_split(_WORDS % ""), _BYTES), "Qwen2Tokenizer", normalizer={"type": "NFC"}),
}


def build(job: Job, fields: dict[str, Any]) -> dict[str, int]:
    """Write the tokenizer; returns the ids of bos, eos, pad and unk, those that there are."""
    made, tokens = make(fields), fields["tokenizer.ggml.tokens"]
    special: dict[str, int] = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        at = fields.get(f"tokenizer.ggml.{key}_token_id")
        if at is None:
            continue
        if not 0 <= at < len(tokens):
            raise BadInput("files", f"the GGUF file's {key} token is {at}; it has {len(tokens)} tokens")
        special[name] = int(at)
    out = job.output("tokenizer")
    made.save(str(out / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": PRE[fields["tokenizer.ggml.pre"]].tokenizer_class,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "model_max_length": _context(fields),
        **{f"{name}_token": tokens[at] for name, at in special.items()},
    }
    if template := fields.get("tokenizer.chat_template"):
        config["chat_template"] = template
    (out / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return special


def make(fields: dict[str, Any]) -> Tokenizer:
    """The tokenizer itself; :class:`BadInput` for a kind or a pre-tokenizer that is not known here."""
    from tokenizers import Tokenizer

    model, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if model != "gpt2":
        raise BadInput("files", f"the GGUF file's tokenizer is {model!r}; only byte-level BPE (gpt2) is read")
    if pre not in PRE:
        known = ", ".join(sorted(PRE))
        raise BadInput("files", f"the GGUF file's pre-tokenizer is {pre!r}; known are {known}: a guess would be worse")
    scheme = PRE[pre]
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    body = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": scheme.normalizer,
        "pre_tokenizer": scheme.splitter,
        "post_processor": None,
        "decoder": {**_GPT2, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": scheme.ignore_merges,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }
    try:
        made = Tokenizer.from_str(json.dumps(body))
    except Exception as e:  # the library raises the base class
        raise BadInput("files", f"the GGUF file's vocabulary and merges do not fit: {e}") from e
    for added in _added(fields, tokens):
        (made.add_special_tokens if added.special else made.add_tokens)([added])
    if fields.get("tokenizer.ggml.add_bos_token"):
        _begin_with(made, tokens, int(fields["tokenizer.ggml.bos_token_id"]))
    return made


def _added(fields: dict[str, Any], tokens: list[str]) -> list[AddedToken]:
    from tokenizers import AddedToken

    kinds = fields.get("tokenizer.ggml.token_type", [])
    return [
        AddedToken(token, normalized=False, special=kind == CONTROL)
        for token, kind in zip(tokens, kinds, strict=False)
        if kind in (CONTROL, USER_DEFINED)
    ]


def _begin_with(made: Tokenizer, tokens: list[str], bos: int) -> None:
    from tokenizers import processors

    made.post_processor = processors.TemplateProcessing(
        single=f"{tokens[bos]} $A",
        pair=f"{tokens[bos]} $A {tokens[bos]} $B",
        special_tokens=[(tokens[bos], bos)],
    )


def _context(fields: dict[str, Any]) -> int:
    return int(fields.get(f"{fields.get('general.architecture')}.context_length", 0)) or int(1e30)
