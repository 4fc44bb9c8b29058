"""One pass of an engine in the shapes that a profile is tuned for: whether it runs, and what each layer takes."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import torch

from lib.llm.contract import Contract
from lib.trt.cache import Cache, name
from lib.trt.plan import Plan

RUNS = 20  # that are timed, at most
SECONDS = 1.0  # after which no other begins: a pass over many prompts may take some tenths of it


class Trial:
    """A pass over a cache that is half full. It holds all that the pass reads and writes."""

    def __init__(self, plan: Plan, sizes: Contract, number: int) -> None:
        profile = plan.profiles[number]
        batch, tokens, length, rows = (
            size[1] for size in (profile.batch, profile.tokens, profile.length, profile.rows)
        )
        like = torch.empty(0, dtype=getattr(torch, plan.dtype()), device=plan.device)
        self._plan = plan
        with torch.no_grad(), plan.on_stream():
            cache = Cache((2 * sizes.layers, batch, sizes.kv_heads, length, sizes.head_dim), length, like)
            cache.rewind((length - tokens) // 2)
            given = {
                "input_ids": torch.zeros(batch, tokens, dtype=torch.int64, device=plan.device),
                "lengths": cache.lengths,
                "rows": torch.arange(rows, device=plan.device),
                "logits": cache.tensor.new_empty(batch, rows, sizes.vocabulary),
            }
            self._bound = given | cache.named() | name("new", cache.room(tokens))
            self._context = plan.context(number)
            self._context.bind(self._bound)

    def run(self) -> None:
        """One pass, and wait for it: whatever it does wrong on the device is raised here."""
        self._context.run()
        self._plan.stream.synchronize()

    def times(self) -> dict[str, float]:
        """Microseconds of each layer. The library waits for each, so their sum is more than a pass takes."""
        self.run()
        profiler = make_profiler(self._plan.trt)
        self._context.made.profiler = profiler
        began, runs = time.monotonic(), 0
        while not runs or (runs < RUNS and time.monotonic() - began < SECONDS):
            self.run()
            runs += 1
        return {layer: 1000 * spent / runs for layer, spent in profiler.spent.items()}


def make_profiler(trt: ModuleType) -> Any:
    """Adds up the milliseconds of each layer in `spent`."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.spent: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.spent[layer_name] = self.spent.get(layer_name, 0.0) + ms

    return Profiler()
