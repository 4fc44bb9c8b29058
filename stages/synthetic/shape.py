"""The shape of a made-up Llama: sizes by name, checked, and the tensors that they give.

It knows what a Llama is made of. It must not know which numbers stand in it, nor where they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tinfra_worker import BadParam, Job

if TYPE_CHECKING:
    from transformers import LlamaConfig

SHAPES: dict[str, dict[str, Any]] = {
    "toy": {
        "hidden": 64,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "intermediate": 128,
        "vocab": 512,
        "context": 2048,
        "dtype": "float32",
    },
    "llama-3-8b": {
        "hidden": 4096,
        "layers": 32,
        "heads": 32,
        "kv_heads": 8,
        "intermediate": 14336,
        "vocab": 128256,
        "context": 8192,
        "dtype": "bfloat16",
    },
}
ROPE_THETA = {"toy": 10000.0, "llama-3-8b": 500000.0}
NORM_EPS = {"toy": 1e-6, "llama-3-8b": 1e-5}


def make_config(job: Job) -> LlamaConfig:
    """The shape, checked; :class:`BadParam` names the param that does not fit the others."""
    from transformers import LlamaConfig

    shape = job.param("shape", str)
    sizes = SHAPES[shape] | {name: value for name, value in job.params.items() if name in SHAPES[shape]}
    whole = {name: int(value) for name, value in sizes.items() if name != "dtype"}
    hidden, heads, kv = whole["hidden"], whole["heads"], whole["kv_heads"]
    if hidden % (2 * heads):
        raise BadParam("hidden", f"hidden is {hidden}; with {heads} heads it must be a multiple of {2 * heads}")
    if heads % kv:
        raise BadParam("kv_heads", f"kv_heads is {kv}; it must divide heads, {heads}")
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=whole["vocab"],
        hidden_size=hidden,
        intermediate_size=whole["intermediate"],
        num_hidden_layers=whole["layers"],
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=hidden // heads,
        max_position_embeddings=whole["context"],
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA[shape]},
        rms_norm_eps=NORM_EPS[shape],
        tie_word_embeddings=job.param("tie_embeddings", bool),
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype=sizes["dtype"],
    )


def tensors(config: LlamaConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
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
