"""The time of each layer of an engine, one profile at a time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from lib.llm.contract import Contract
from lib.trt.cache import Cache, name
from lib.trt.plan import Context, Plan

RUNS = 20


def layer_times(plan: Plan, sizes: Contract, number: int) -> tuple[dict[str, float], str]:
    """Microseconds of each layer in the shapes that a profile is tuned for, and the inspector's JSON of the profile.

    The library waits for each layer, so their sum is more than a pass takes.
    """
    profile = plan.profiles[number]
    batch, tokens, length, rows = (size[1] for size in (profile.batch, profile.tokens, profile.length, profile.rows))
    like = torch.empty(0, dtype=getattr(torch, plan.dtype()), device=plan.device)
    with torch.no_grad(), plan.on_stream():
        cache = Cache((2 * sizes.layers, batch, sizes.kv_heads, length, sizes.head_dim), length, like)
        cache.rewind((length - tokens) // 2)
        given = {
            "input_ids": torch.zeros(batch, tokens, dtype=torch.int64, device=plan.device),
            "lengths": cache.lengths,
            "rows": torch.arange(rows, device=plan.device),
            "logits": cache.tensor.new_empty(batch, rows, sizes.vocabulary),
        }
        bound = given | cache.named() | name("new", cache.room(tokens))  # held until all runs are done
        context = plan.context(number)
        context.bind(bound)
        context.run()
        plan.stream.synchronize()
        profiler = make_profiler(plan.trt)
        context.made.profiler = profiler
        for _ in range(RUNS):
            context.run()
            plan.stream.synchronize()
    return {layer: 1000 * spent / RUNS for layer, spent in profiler.spent.items()}, _inspect(plan, context)


def _inspect(plan: Plan, context: Context) -> str:
    """The inspector's JSON of a context, or else of the engine; empty where it fails at both."""
    kind = plan.trt.LayerInformationFormat.JSON
    for of in (context.made, None):
        inspector = plan.engine.create_engine_inspector()
        if of is not None:
            inspector.execution_context = of
        if said := inspector.get_engine_information(kind):
            return said
    return ""


def make_profiler(trt: ModuleType) -> Any:
    """Adds up the milliseconds of each layer in `spent`."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.spent: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.spent[layer_name] = self.spent.get(layer_name, 0.0) + ms

    return Profiler()
