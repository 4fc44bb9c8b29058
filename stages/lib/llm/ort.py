"""A decoder's graph run by onnxruntime on the CPU: what proves a graph before an engine is built of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from lib.llm.contract import Contract, read_contract
from lib.llm.decoder import Made, Unfit
from lib.llm.rows import Rows, open_rows, opened

GRAPH = "model.onnx"
SHORTEST = 16  # slots of a cache
_TYPES = {"float32": torch.float32, "float16": torch.float16}  # that onnxruntime computes in on a CPU


class OrtDecoder:
    """A :class:`~lib.llm.decoder.Decoder` of a model/onnx-decoder folder.

    The graph reads a cache of [batch, kv_heads, slots, head_dim] for each layer's keys and values, and gives the new
    ones, which are written into it here.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self._contract = read_contract(folder)
        self.vocabulary, self.dtype = self._contract.vocabulary, self._contract.dtype
        self.weight_bytes = self._contract.weight_bytes
        self.device = torch.device("cpu")
        self.engine = f"onnxruntime {onnxruntime.__version__} cpu {self.dtype}"
        if self.dtype not in _TYPES:
            raise Unfit(f"the graph computes in {self.dtype}; on a CPU {' and '.join(_TYPES)} are run")
        self._session = _session(folder)
        self._caches = [f"cache.{i}.{part}" for i in range(self._contract.layers) for part in ("key", "value")]
        self._outputs = ["logits", *(name.replace("cache", "new") for name in self._caches)]
        _check_names(self._session, {"input_ids", "lengths", "rows", *self._caches}, set(self._outputs))
        self._rows: Rows | None = None
        self._cache = self._lengths = torch.empty(0)

    def open(self, batch: int, length: int) -> None:
        self._rows = open_rows(batch, length, self._contract.context)
        self._cache = torch.zeros(cache_shape(self._contract, batch, length), dtype=_TYPES[self.dtype])
        self._lengths = torch.zeros(batch, dtype=torch.int64)

    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        held, tokens = opened(self._rows), ids.shape[1]
        held.room(ids, tokens)
        given = {"input_ids": ids, "lengths": self._lengths, "rows": rows}
        given |= dict(zip(self._caches, self._cache, strict=True))
        feeds = {name: tensor.cpu().numpy() for name, tensor in given.items()}
        logits, *new = self._session.run(self._outputs, feeds)
        at = self._lengths[:, None] + torch.arange(tokens)
        new = torch.stack([torch.from_numpy(part) for part in new])
        self._cache.scatter_(3, at[None, :, None, :, None].expand(new.shape), new)
        self._lengths += tokens
        held.longest += tokens
        return torch.from_numpy(logits)

    def rewind(self, length: int | torch.Tensor = 0) -> None:
        held = opened(self._rows)
        self._lengths[:] = length
        held.longest = int(self._lengths.max())

    def generate(self, ids: torch.Tensor, tokens: int, bar: torch.Tensor) -> Made:
        stamps = [perf_counter()]
        self.rewind()
        opened(self._rows).room(ids, ids.shape[1] + tokens)
        made: list[torch.Tensor] = []
        for _ in range(tokens):
            logits = self.feed(ids, torch.tensor([ids.shape[1] - 1]))[:, 0].float()
            logits[:, bar.cpu()] = float("-inf")
            made.append(ids := logits.argmax(-1, keepdim=True))
            stamps.append(perf_counter())
        first, *steps = (b - a for a, b in pairwise(stamps))
        return Made(torch.cat(made, 1), first, steps)


def cache_shape(contract: Contract, batch: int, length: int) -> tuple[int, ...]:
    """Keys and values of each layer in turn, [2 · layers, batch, kv_heads, slots, head_dim]."""
    slots = max(length, SHORTEST)
    return (2 * contract.layers, batch, contract.kv_heads, slots, contract.head_dim)


def _session(folder: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # 4-bit products else round activations to 8 bits: another model than the one that was quantized.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    try:
        return onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # its errors have the base class only
        raise ValueError(f"{GRAPH} cannot be loaded: {e}") from e


def _check_names(session: Any, inputs: set[str], outputs: set[str]) -> None:
    for what, want, have in (("inputs", inputs, session.get_inputs()), ("outputs", outputs, session.get_outputs())):
        found = {one.name for one in have}
        if strange := sorted(want ^ found):
            raise ValueError(f"the {what} of {GRAPH} are not those of a decoder: {', '.join(strange[:5])}")
