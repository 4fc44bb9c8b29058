"""A TensorRT engine as a decoder: prompts in passes, then a step a token, with the cache on the device."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch

from lib.llm.contract import read_contract
from lib.llm.decoder import Made, Unfit
from lib.trt.cache import Cache, name
from lib.trt.plan import Plan
from lib.trt.profiles import Pass, cache_length, choose, passes
from lib.trt.step import Step

if TYPE_CHECKING:
    from lib.trt.plan import Context

P = ParamSpec("P")
T = TypeVar("T")


def _plainly(method: Callable[P, T]) -> Callable[P, T]:
    """Keep no gradients, and make no inference tensors: those could not be written to outside of inference mode."""
    return torch.inference_mode(False)(torch.no_grad()(method))


class EngineDecoder:
    """A :class:`~lib.llm.decoder.Decoder` of an engine's folder. ValueError when it is none, or none for this GPU."""

    def __init__(self, folder: Path, plan: Plan | None = None) -> None:
        self._contract = read_contract(folder)
        self._plan = plan or Plan(folder)
        self.vocabulary = self._contract.vocabulary
        self.weight_bytes = self._contract.weight_bytes
        self.dtype = self._plan.dtype()
        self.device = self._plan.device
        self.engine = f"TensorRT {self._plan.version} {self.device.type} {self.dtype}"
        self._contexts: dict[int, Context] = {}
        self._cache: Cache | None = None
        self._step: Step | None = None

    @_plainly
    def open(self, batch: int, length: int) -> None:
        slots = cache_length(self._plan.profiles, batch, length) if batch > 0 < length else None
        if slots is None:
            raise Unfit(f"{batch} rows of {length} tokens are asked for; {self._built()}")
        self._step = self._cache = None  # its memory is free before more is asked for
        sizes = self._contract
        shape = (2 * sizes.layers, batch, sizes.kv_heads, slots, sizes.head_dim)
        like = torch.empty(0, dtype=getattr(torch, self.dtype), device=self.device)
        with self._plan.on_stream():
            self._cache = Cache(shape, length, like)

    @_plainly
    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        cache = self._opened()
        cache.check(ids, ids.shape[1])
        with self._plan.on_stream():
            logits = self._feed(cache, ids, rows.tolist())
        return self._hand(logits)

    @_plainly
    def generate(self, ids: torch.Tensor, tokens: int, bar: torch.Tensor) -> Made:
        begin = perf_counter()
        cache = self._opened()
        self.rewind(0)
        cache.check(ids, ids.shape[1] + tokens)
        with self._plan.on_stream():
            step = self._step = self._step or self._make_step(cache)
            cache.rewind(0)
            step.start(bar)
            step.choose(self._feed(cache, ids, [ids.shape[1] - 1]))
            steps = self._repeat(step, tokens - 1)
            made = step.made[:, :tokens].cpu()
        cache.longest += tokens - 1
        # The device is never waited for between two steps, so the first token's time is what the steps leave.
        return Made(made, perf_counter() - begin - sum(steps), steps)

    @_plainly
    def rewind(self, length: int | torch.Tensor = 0) -> None:
        cache = self._opened()
        with self._plan.on_stream():
            cache.rewind(length)

    def _feed(self, cache: Cache, ids: torch.Tensor, rows: list[int]) -> torch.Tensor:
        if not all(0 <= row < ids.shape[1] for row in rows):
            raise Unfit(f"the logits of positions {rows} of {ids.shape[1]} are asked for")
        parts = passes(self._plan.profiles, cache.batch, ids.shape[1], cache.slots, rows)
        if not parts:
            raise Unfit(
                f"the logits of {len(rows)} positions of {ids.shape[1]} tokens a row are asked for; {self._built()}"
            )
        if len(parts) == 1 and rows:
            return self._pass(cache, ids, parts[0])
        logits = cache.tensor.new_empty(cache.batch, len(rows), self.vocabulary)
        for part in parts:
            found = self._pass(cache, ids[:, part.start : part.stop], part)
            if part.places:
                logits[:, part.places] = found
        return logits

    def _pass(self, cache: Cache, ids: torch.Tensor, part: Pass) -> torch.Tensor:
        """Logits [batch, R, vocabulary] of a pass; its keys and values are in the cache then."""
        new = cache.room(ids.shape[1])
        logits = new.new_empty(cache.batch, len(part.rows), self.vocabulary)
        if part.profile not in self._contexts:
            self._contexts[part.profile] = self._plan.context(part.profile)
        context = self._contexts[part.profile]
        # A copy: TensorRT wants it aligned, which a slice need not be.
        given = ids.to(self.device, torch.int64).clone(memory_format=torch.contiguous_format)
        rows = torch.tensor(part.rows, dtype=torch.int64, device=self.device)
        context.bind(
            {"input_ids": given, "lengths": cache.lengths, "rows": rows, "logits": logits}
            | cache.named()
            | name("new", new)
        )
        context.run()
        cache.write(new)
        cache.longest += ids.shape[1]
        return logits

    def _make_step(self, cache: Cache) -> Step:
        profile = choose(self._plan.profiles, cache.batch, 1, cache.slots, 1)
        if profile is None:
            raise Unfit(f"steps of {cache.batch} rows of {cache.slots} slots are asked for; {self._built()}")
        return Step(self._plan, self._plan.context(profile), cache, self.vocabulary)

    def _repeat(self, step: Step, steps: int) -> list[float]:
        """Run steps; the seconds of each."""
        if self.device.type != "cuda":
            stamps = [perf_counter()]
            for _ in range(steps):
                step.run()
                stamps.append(perf_counter())
            return [b - a for a, b in pairwise(stamps)]
        events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
        events[0].record()
        for event in events[1:]:
            step.run()
            event.record()
        events[-1].synchronize()
        return [a.elapsed_time(b) / 1000 for a, b in pairwise(events)]

    def _hand(self, logits: torch.Tensor) -> torch.Tensor:
        """Keep the memory of logits from being used again before the caller's stream has read them."""
        if self.device.type == "cuda":
            logits.record_stream(torch.cuda.current_stream())
        return logits

    def _opened(self) -> Cache:
        if self._cache is None:
            raise Unfit("nothing is opened")
        return self._cache

    def _built(self) -> str:
        return "the engine was built for " + "; ".join(map(str, self._plan.profiles))
