"""The prompt: equal for every engine that is asked the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchmark.asked import Asked, Model
from lib.llm.text import encode, load_tokenizer, read_text
from tinfra_worker import BadInput, Job

if TYPE_CHECKING:
    import numpy as np


def make_prompt(job: Job, asked: Asked, model: Model) -> np.ndarray:
    """Token ids, int64 [batch, prompt]: drawn evenly from the vocabulary, or the first ones of a text."""
    import numpy as np

    shape = (asked.batch, asked.prompt)
    if not check_ports(job):
        # PCG64's integers are the same on every machine.
        return np.random.Generator(np.random.PCG64(asked.seed)).integers(
            0, model.subject.vocabulary, shape, dtype=np.int64
        )
    ids = encode(load_tokenizer(job, "tokenizer"), read_text(job, "text"))
    wanted = asked.batch * asked.prompt
    if len(ids) < wanted:
        raise BadInput("text", f"the text has {len(ids)} tokens; {asked.batch} prompts of {asked.prompt} take {wanted}")
    ids = ids[:wanted]
    if ids.max() >= model.subject.vocabulary:
        raise BadInput("tokenizer", f"token {ids.max()} is beyond the model's vocabulary of {model.subject.vocabulary}")
    return ids.reshape(shape)


def check_ports(job: Job) -> bool:
    """Whether the prompt is of a text; text and tokenizer come together or not at all."""
    text, tokenizer = job.has_input("text"), job.has_input("tokenizer")
    if text and not tokenizer:
        raise BadInput("text", "a text without a tokenizer gives no tokens", "give the model's tokenizer too")
    if tokenizer and not text:
        raise BadInput("tokenizer", "a tokenizer without a text has nothing to do", "give a text too, or leave it out")
    return text


def describe(job: Job, asked: Asked, ids: np.ndarray) -> dict[str, str]:
    """Where a prompt comes from, and the sha256 of its ids as little-endian int64, row by row."""
    if job.has_input("text"):
        origin = {"text": job.input_info("text").digest, "tokenizer": job.input_info("tokenizer").digest}
    else:
        origin = {"drawn": f"PCG64 of seed {asked.seed}, evenly from the vocabulary"}
    return origin | {"sha256": hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()}
