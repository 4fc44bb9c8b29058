"""A decode step that the host only starts: engine, choice of the next token, keys and values into the cache, counters.

All that it reads and writes stays where it is, so the whole step is one CUDA graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lib.trt.cache import Cache, name

if TYPE_CHECKING:
    from lib.trt.plan import Context, Plan


class Step:
    """`made`, int64 [batch, slots], holds the tokens that were chosen, `count` of each row."""

    def __init__(self, plan: Plan, context: Context, cache: Cache, vocabulary: int) -> None:
        def whole(*size: int) -> torch.Tensor:
            return torch.zeros(size, dtype=torch.int64, device=plan.device)

        self.ids, self.made, self.count = whole(cache.batch, 1), whole(cache.batch, cache.slots), whole(1)
        self._barred = torch.zeros(vocabulary, dtype=torch.bool, device=plan.device)
        self._new = cache.room(1)
        self._logits = cache.tensor.new_empty(cache.batch, 1, vocabulary)
        self._cache, self._context, self._plan = cache, context, plan
        self._bound = (
            {"input_ids": self.ids, "lengths": cache.lengths, "rows": whole(1), "logits": self._logits}
            | cache.named()
            | name("new", self._new)
        )
        context.bind(self._bound)
        self._graph = self._capture() if plan.device.type == "cuda" else None

    def start(self, bar: torch.Tensor) -> None:
        """Forget what was chosen; the tokens `bar` are not chosen from now on."""
        self.count.zero_()
        self._barred.zero_()
        self._barred[bar.to(self._barred.device)] = True

    def choose(self, logits: torch.Tensor) -> None:
        """Take the next token of each row from logits [batch, 1, vocabulary]."""
        chosen = logits[:, 0].masked_fill(self._barred, float("-inf")).argmax(-1, keepdim=True)
        self.ids.copy_(chosen)
        self.made.scatter_(1, self.count.expand(len(chosen))[:, None], chosen)
        self.count.add_(1)

    def run(self) -> None:
        """Feed the tokens that were chosen last, and choose the next."""
        if self._graph is not None:
            self._graph.replay()
        else:
            self._once()

    def _once(self) -> None:
        self._context.run()
        self.choose(self._logits)
        self._cache.write(self._new)

    def _capture(self) -> torch.cuda.CUDAGraph:
        """The cache must be empty, and is again behind this: TensorRT wants one plain pass before it is captured."""
        self._once()
        self._cache.rewind(0)
        self.count.zero_()
        graph = torch.cuda.CUDAGraph()
        # Other threads may speak to the device meanwhile: those that watch its clocks and power.
        with torch.cuda.graph(graph, stream=self._plan.stream, capture_error_mode="thread_local"):
            self._once()
        return graph
