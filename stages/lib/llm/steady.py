"""A Llama-shaped model decoded in plain torch: the cache is ours and stays in place, a step is one CUDA graph.

Between the linears each step is a few functions that torch.compile makes a kernel or two of; so what is measured is
the linears, whichever kernel they have. On a CPU the same functions run as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (as everywhere)

from lib.llm.decoder import Made
from lib.llm.llama import Llama, load_llama
from lib.llm.packed import Dequantize, Kernel
from lib.llm.rows import Rows, open_rows, opened

Pair = tuple[torch.Tensor, torch.Tensor]

ALIGN = 16  # tokens; attention kernels read masks in whole vectors
COMPILED = 64  # batch sizes and widths that one process may compile a function for


@dataclass
class Held:
    """What an opened decoder holds: caches [layers, batch, kv_heads, slots, head_dim] and how full each row is.

    The tables, [slots, head_dim], turn positions; `ids`, `made`, `count` and `barred` are what a captured step reads
    and writes.
    """

    keys: torch.Tensor
    values: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    lengths: torch.Tensor  # int64 [batch]
    ids: torch.Tensor  # int64 [batch, 1]: the token chosen last
    made: torch.Tensor  # int64 [batch, length]
    count: torch.Tensor  # int64 [1]: how many columns of `made` are filled
    barred: torch.Tensor  # bool [vocabulary]


class SteadyDecoder:
    """A :class:`~lib.llm.decoder.Decoder` of a checkpoint; `kernel` computes packed layers, which else are unpacked."""

    def __init__(self, folder: Path, dtype: str, kernel: Kernel | None = None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = dtype
        kernel = kernel or Dequantize()
        with torch.no_grad():
            self._model = load_llama(folder, self.device, getattr(torch, dtype), kernel)
        self.vocabulary = self._model.embedding.shape[0]
        self.weight_bytes = self._model.weight_bytes
        by = f", {kernel.name}" if self._model.packed else ""
        self.engine = f"tinfra steady on torch {torch.__version__} {self.device.type} {dtype}{by}"
        self._rows: Rows | None = None
        self._held: Held | None = None
        self._step: torch.cuda.CUDAGraph | None = None

    @torch.no_grad()
    def open(self, batch: int, length: int) -> None:
        rows = open_rows(batch, length, self._model.config.max_position_embeddings)
        self._step = self._rows = self._held = None  # its memory is free before more is asked for
        self._held, self._rows = hold(self._model, rows), rows

    @torch.no_grad()
    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        full, held = opened(self._rows), self._held
        full.room(ids, ids.shape[1])
        logits = forward(self._model, held, ids.to(self.device), rows.to(self.device), _PLAIN)
        held.lengths.add_(ids.shape[1])
        full.longest += ids.shape[1]
        return logits

    @torch.no_grad()
    def rewind(self, length: int | torch.Tensor = 0) -> None:
        full, held = opened(self._rows), self._held
        if isinstance(length, int):
            held.lengths.fill_(length)
            full.longest = length
        else:
            held.lengths.copy_(length)
            full.longest = int(length.max())

    @torch.no_grad()
    def generate(self, ids: torch.Tensor, tokens: int, bar: torch.Tensor) -> Made:
        self.rewind()
        full, held = self._rows, self._held
        full.room(ids, ids.shape[1] + tokens)
        if self._step is None and self.device.type == "cuda":
            self._step = self._capture(held)  # before the clock starts: once for what was opened
        begin = perf_counter()
        held.barred.zero_()
        held.barred[bar.to(self.device)] = True
        held.count.zero_()
        choose(held, self.feed(ids, torch.tensor([ids.shape[1] - 1])))
        seconds = self._replay(tokens - 1) if self._step is not None else self._repeat(tokens - 1)
        first = seconds[0] - begin
        full.longest += tokens - 1
        return Made(held.made[:, :tokens].cpu(), first, seconds[1:])

    def _replay(self, steps: int) -> list[float]:
        """When the first token was there, and how long each step took; seconds."""
        events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
        events[0].record()
        events[0].synchronize()
        first = perf_counter()
        for event in events[1:]:
            self._step.replay()
            event.record()
        events[-1].synchronize()
        return [first, *(a.elapsed_time(b) / 1000 for a, b in pairwise(events))]

    def _repeat(self, steps: int) -> list[float]:
        stamps = [perf_counter()]
        for _ in range(steps):
            step(self._model, self._held, _PLAIN)
            stamps.append(perf_counter())
        return [stamps[0], *(b - a for a, b in pairwise(stamps))]

    def _capture(self, held: Held) -> torch.cuda.CUDAGraph:
        """One step as a graph. Kernels are compiled, and those of packed layers built, by the calls before."""
        with torch._dynamo.config.patch(recompile_limit=COMPILED):
            parts = tuple(torch.compile(part, fullgraph=True, dynamic=False) for part in _PLAIN)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    step(self._model, held, parts)
                    held.lengths.zero_()
                    held.count.zero_()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step(self._model, held, parts)
        return graph


def hold(model: Llama, rows: Rows) -> Held:
    """An empty cache, and the tables of the model's own positions."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    weight = model.embedding
    slots = -(-rows.length // ALIGN) * ALIGN
    shape = (len(model.layers), rows.batch, model.kv_heads, slots, model.head_dim)

    def whole(*size: int) -> torch.Tensor:
        return torch.zeros(size, dtype=torch.int64, device=weight.device)

    positions = torch.arange(slots, device=weight.device)
    cos, sin = LlamaRotaryEmbedding(model.config)(weight, positions[None])  # in the type of `weight`, on its device
    return Held(
        keys=weight.new_zeros(shape),
        values=weight.new_zeros(shape),
        cos=cos[0],
        sin=sin[0],
        lengths=whole(rows.batch),
        ids=whole(rows.batch, 1),
        made=whole(rows.batch, rows.length),
        count=whole(1),
        barred=torch.zeros(weight.shape[0], dtype=torch.bool, device=weight.device),
    )


def forward(model: Llama, held: Held, ids: torch.Tensor, rows: torch.Tensor, parts: tuple[Any, ...]) -> torch.Tensor:
    """Logits [batch, R, vocabulary]; new keys and values are in the cache then, and `lengths` as they were."""
    place, norm, attend, add_norm, activate = parts
    eps = model.config.rms_norm_eps
    at, mask, turns = place(held.lengths, ids.shape[1], model.heads // model.kv_heads, (held.cos, held.sin))
    x = F.embedding(ids, model.embedding)
    y = norm(x, model.layers[0].before, eps)
    for i, layer in enumerate(model.layers):
        o = attend(layer.qkv(y), (held.keys[i], held.values[i]), at, mask, turns)
        x, y = add_norm(x, layer.out(o), layer.between, eps)
        after = model.layers[i + 1].before if i + 1 < len(model.layers) else model.norm
        x, y = add_norm(x, layer.down(activate(layer.gate_up(y))), after, eps)
    return model.head(y[:, rows])


def step(model: Llama, held: Held, parts: tuple[Any, ...]) -> None:
    """One token more a row: the token chosen last goes in, and the next is chosen."""
    logits = forward(model, held, held.ids, held.count.new_zeros(1), parts)
    held.lengths.add_(1)
    choose(held, logits)


def choose(held: Held, logits: torch.Tensor) -> None:
    """Note the likeliest token that is not barred; logits [batch, 1, vocabulary]."""
    held.ids.copy_(logits.masked_fill(held.barred, float("-inf")).argmax(-1))
    held.made.index_copy_(1, held.count, held.ids)
    held.count.add_(1)


def _place(lengths: torch.Tensor, tokens: int, group: int, tables: Pair) -> tuple[torch.Tensor, torch.Tensor, Pair]:
    """Positions of new tokens, [batch, tokens], what they see of the slots, and how far they are turned.

    The mask is 0 where a token sees a slot, else -inf; [batch, 1, group · tokens, slots]: heads that share keys lie as
    rows.
    """
    cos, sin = tables
    at = lengths[:, None] + torch.arange(tokens, device=lengths.device)
    hidden = torch.arange(len(cos), device=lengths.device) > at[:, :, None]
    mask = torch.where(hidden, float("-inf"), 0.0).to(cos.dtype)
    return at, mask.repeat(1, group, 1)[:, None], (cos[at][:, None], sin[at][:, None])


def _norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def _add_norm(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    x = x + y
    return x, _norm(x, weight, eps)


def _activate(gate_up: torch.Tensor) -> torch.Tensor:
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def _attend(qkv: torch.Tensor, cache: Pair, at: torch.Tensor, mask: torch.Tensor, turns: Pair) -> torch.Tensor:
    """Attention of new tokens, [batch, S, …], over a layer's cache, into which their keys and values go first.

    Queries that share keys lie as rows of one head: keys are read once, and no kernel need know of groups.
    """
    (keys, values), (cos, sin) = cache, turns
    batch, tokens, width = qkv.shape
    heads, size = keys.shape[1], keys.shape[3]
    queries = width // size - 2 * heads
    q, k, v = qkv.view(batch, tokens, -1, size).transpose(1, 2).split([queries, heads, heads], 1)
    where = at[:, None, :, None].expand(batch, heads, tokens, size)
    keys.scatter_(2, where, _turn(k, cos, sin))
    values.scatter_(2, where, v)
    q = _turn(q, cos, sin).reshape(batch, heads, -1, size)
    seen = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
    return seen.reshape(batch, queries, tokens, size).transpose(1, 2).reshape(batch, tokens, -1)


_PLAIN = (_place, _norm, _attend, _add_norm, _activate)
