"""A seeded Llama-shaped model, a tokenizer and a text. Equal params give equal bytes on every machine."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import TYPE_CHECKING

from synthetic.shape import make_config, tensors
from synthetic.weights import Writer
from tinfra_worker import Job, run

if TYPE_CHECKING:
    from transformers import LlamaConfig

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"


def main(job: Job) -> None:
    config = make_config(job)
    text = make_text(job.param("seed", int), job.param("text_bytes", int))
    (job.output("text") / "text.txt").write_text(text, encoding="utf-8", newline="\n")
    make_tokenizer(job, text, config.vocab_size)
    job.metric("parameters", make_model(job, config))
    job.label("synthetic", "true")


def make_model(job: Job, config: LlamaConfig) -> int:
    """Write config and weights; returns the number of weights."""
    import torch
    from transformers import GenerationConfig

    torch.set_num_threads(1)  # a thread casts its own block
    out, shapes = job.output("model"), list(tensors(config))
    config.save_pretrained(out)
    GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2).save_pretrained(out)

    def tell(done: int, total: int) -> None:
        job.progress(done, total, "weights", "drawing weights")

    dtype = str(config.dtype).removeprefix("torch.")
    Writer(dtype, job.param("seed", int), job.cpus).write(out, shapes, tell)
    return sum(math.prod(shape) for _, shape in shapes)


def make_text(seed: int, size: int) -> str:
    """Sentences of made-up words, the frequent ones much more frequent than the rare (1/rank); `size` bytes at least.

    Only random() is used: it alone is promised to stay the same in every Python.
    """
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    pick = lambda items: items[int(rng.random() * len(items))]  # noqa: E731
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    words = ["".join(pick(syllables) for _ in range(1 + int(rng.random() * 3))) for _ in range(400)]
    total = 0
    paragraphs: list[str] = []
    while total < size:
        sentences = []
        for _ in range(3 + int(rng.random() * 5)):
            drawn = [words[int(len(words) ** rng.random()) - 1] for _ in range(4 + int(rng.random() * 12))]
            sentences.append(" ".join(drawn).capitalize() + ".")
        paragraphs.append(" ".join(sentences))
        total += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs) + "\n"


def make_tokenizer(job: Job, text: str, vocab: int) -> None:
    """A byte-level BPE tokenizer with at most `vocab` tokens, learnt from the text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(text.splitlines(keepends=True), trainer)
    folder: Path = job.output("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=BEGIN, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    ).save_pretrained(folder)
    job.observe("tokenizer_tokens", str(made.get_vocab_size()))


if __name__ == "__main__":
    run(main)
