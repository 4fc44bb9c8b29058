"""A seeded Llama-shaped model, a tokenizer and a text. Equal params give equal bytes on every machine.

Weights are uniform numbers made of the generator's bits by exact operations only: a normal distribution would go
through the machine's own log and sin, which differ in the last bit. The standard deviation is 0.02, as Llama's is.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinfra_worker import BadParam, Job, run

if TYPE_CHECKING:
    import torch
    from transformers import LlamaConfig

SHARD = 4 << 30  # bytes
BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
WIDTH = 0.02 * math.sqrt(12)  # of a uniform distribution whose deviation is 0.02


def main(job: Job) -> None:
    config = make_config(job)
    text = make_text(job.param("seed", int), job.param("text_bytes", int))
    (job.output("text") / "text.txt").write_text(text, encoding="utf-8", newline="\n")
    make_tokenizer(job, text, config.vocab_size)
    job.metric("parameters", make_model(job, config))
    job.label("synthetic", "true")


def make_config(job: Job) -> LlamaConfig:
    """The shape, checked; :class:`BadParam` names the param that does not fit the others."""
    from transformers import LlamaConfig

    hidden, heads, kv = (job.param(n, int) for n in ("hidden", "heads", "kv_heads"))
    if hidden % (2 * heads):
        raise BadParam("hidden", f"hidden is {hidden}; with {heads} heads it must be a multiple of {2 * heads}")
    if heads % kv:
        raise BadParam("kv_heads", f"kv_heads is {kv}; it must divide heads, {heads}")
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=job.param("vocab", int),
        hidden_size=hidden,
        intermediate_size=job.param("intermediate", int),
        num_hidden_layers=job.param("layers", int),
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=hidden // heads,
        max_position_embeddings=job.param("context", int),
        tie_word_embeddings=job.param("tie_embeddings", bool),
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype=job.param("dtype", str),
    )


def shapes(config: LlamaConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors of LlamaForCausalLM, layer by layer."""
    h, inner, head = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * head, config.num_key_value_heads * head
    yield "model.embed_tokens.weight", (config.vocab_size, h)
    for i in range(config.num_hidden_layers):
        at = f"model.layers.{i}"
        yield f"{at}.input_layernorm.weight", (h,)
        yield f"{at}.post_attention_layernorm.weight", (h,)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            yield f"{at}.self_attn.{name}_proj.weight", (rows, h)
        yield f"{at}.self_attn.o_proj.weight", (h, q)
        yield f"{at}.mlp.gate_proj.weight", (inner, h)
        yield f"{at}.mlp.up_proj.weight", (inner, h)
        yield f"{at}.mlp.down_proj.weight", (h, inner)
    yield "model.norm.weight", (h,)
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (config.vocab_size, h)


def make_model(job: Job, config: LlamaConfig) -> int:
    """Write config and weights, a shard at a time; returns the number of weights."""
    import torch
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    out, dtype = job.output("model"), getattr(torch, job.param("dtype", str))
    config.save_pretrained(out)
    GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2).save_pretrained(out)
    plan: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    filled = 0
    for name, shape in shapes(config):
        size = math.prod(shape) * dtype.itemsize
        if plan[-1] and filled + size > SHARD:
            plan.append([])
            filled = 0
        plan[-1].append((name, shape))
        filled += size
    every = [shape for part in plan for _, shape in part]
    where: dict[str, str] = {}
    done = 0
    for n, part in enumerate(plan, 1):
        file = "model.safetensors" if len(plan) == 1 else f"model-{n:05}-of-{len(plan):05}.safetensors"
        tensors = {}
        for name, shape in part:
            tensors[name] = tensor(job.param("seed", int), name, shape, dtype)
            where[name] = file
            done += 1
            job.progress(done, len(every), "tensors", "drawing weights")
        save_file(tensors, out / file, metadata={"format": "pt"})
    parameters = sum(map(math.prod, every))
    if len(plan) > 1:
        index = {"metadata": {"total_size": parameters * dtype.itemsize}, "weight_map": where}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True))
    return parameters


def tensor(seed: int, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """One tensor, by its name and the seed alone. Norms are ones."""
    import numpy as np
    import torch

    if len(shape) == 1:
        return torch.ones(shape, dtype=dtype)
    own = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], "big")
    drawn = np.random.Generator(np.random.PCG64(own)).random(shape, dtype=np.float32)
    drawn -= np.float32(0.5)
    drawn *= np.float32(WIDTH)
    return torch.from_numpy(drawn).to(dtype)


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
