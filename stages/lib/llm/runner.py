"""A causal LM that takes tokens and gives logits, whichever library runs it.

It knows checkpoints and graphs, their caches and their types. It must not know what the logits are for: scoring, checks
and timing stand with their kinds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lib.llm.checkpoint import check_model, load_model, read_plainly
from tinfra_worker import BadInput, Job, Resources

if TYPE_CHECKING:
    import numpy as np

GRAPH = "model.onnx"
_PAST = re.compile(r"past_key_values\.(\d+)\.(key|value)")
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}  # of a graph's cache and logits


class Runner(Protocol):
    """A loaded model. `vocabulary` is the width of its logits, `engine` what runs it, `dtype` what it computes in."""

    vocabulary: int
    engine: str
    dtype: str

    def forward(self, ids: np.ndarray, past: Any = None, mask: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        """Logits, float32 [batch, length, vocabulary], of ids, int64 [batch, length], and the cache after them.

        `past` is what an earlier call returned, and is used up by this one; None starts anew. `mask`, int64
        [batch, past + length], is 0 where a row is padded before its text; positions are counted from the first 1. A
        graph of GroupQueryAttention nodes reads its mask as padding behind the text (onnxruntime's contrib operators).
        """
        ...


def open_runner(job: Job, port: str, dtype: str = "float32") -> Runner:
    """Load the model of an input for running: a graph by onnxruntime, a checkpoint by transformers in `dtype`.

    A graph's types are its own; `dtype` says nothing about it. :class:`BadInput` names the port of what cannot be run.
    """
    if (job.input(port) / GRAPH).exists():
        return GraphRunner(job, port)
    return CheckpointRunner(job, port, dtype)


class CheckpointRunner:
    """A model in Hugging Face's layout, run by transformers on the granted device."""

    def __init__(self, job: Job, port: str, dtype: str) -> None:
        import transformers

        self.model = load_model(job, port, dtype, **read_plainly(check_model(job, port)))
        self.vocabulary = self.model.config.get_text_config().vocab_size
        self.dtype = str(self.model.dtype).removeprefix("torch.")
        self.engine = f"transformers {transformers.__version__} {self.model.device.type} {self.dtype}"

    def forward(self, ids: np.ndarray, past: Any = None, mask: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        import torch

        device = self.model.device
        given: dict[str, Any] = {"input_ids": torch.from_numpy(ids).to(device), "past_key_values": past}
        if mask is not None:
            given["attention_mask"] = torch.from_numpy(mask).to(device)
            given["position_ids"] = torch.from_numpy(_positions(mask, ids.shape[1])).to(device)
        with torch.inference_mode():
            out = self.model(**given, use_cache=True)
            return out.logits.float().cpu().numpy(), out.past_key_values


class GraphRunner:
    """A model/onnx folder, run by onnxruntime on the CPU."""

    def __init__(self, job: Job, port: str) -> None:
        import onnxruntime

        self.port = port
        if job.request.gpus:
            job.log("graphs are run on the CPU; the granted GPU is not used", "warning")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.cpus
        options.log_severity_level = 4  # what goes wrong is raised too
        # As OMP_WAIT_POLICY=passive: threads that wait must not take the cores of other stages.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # onnxruntime itself refuses tensors outside of the model's folder, by "..", absolute or through a link.
            self.session = onnxruntime.InferenceSession(
                job.input(port) / GRAPH, options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # its errors have the base class only
            raise self._fault(e, "loaded") from e
        inputs = {i.name: i for i in self.session.get_inputs()}
        outputs = {o.name: o for o in self.session.get_outputs()}
        self.caches = {name: name.replace("past_key_values", "present") for name in inputs if _PAST.fullmatch(name)}
        self.masked, self.positioned = "attention_mask" in inputs, "position_ids" in inputs
        self._check_names(set(inputs), set(outputs))
        config = _genai_config(job.input(port), port)
        self.vocabulary = self._whole(outputs["logits"].shape[-1], config, "vocab_size")
        self.dtype = self._type(outputs["logits"])
        decoder = config.get("decoder")
        decoder = decoder if isinstance(decoder, dict) else {}
        self.empty = {name: self._empty(inputs[name], decoder) for name in self.caches}
        self.engine = f"onnxruntime {onnxruntime.__version__} cpu"

    def forward(self, ids: np.ndarray, past: Any = None, mask: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        import numpy as np
        from onnxruntime import OrtValue

        batch, length = ids.shape
        if past is None:
            past = {
                name: OrtValue.ortvalue_from_numpy(np.zeros((batch, heads, 0, size), dtype))
                for name, (heads, size, dtype) in self.empty.items()
            }
        before = next(iter(past.values())).shape()[2] if past else 0
        if mask is None:
            mask = np.ones((batch, before + length), np.int64)
        given = {"input_ids": ids}
        if self.masked:
            given["attention_mask"] = mask
        if self.positioned:
            given["position_ids"] = _positions(mask, length)
        feeds = {name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(v)) for name, v in given.items()}
        try:
            logits, *presents = self.session.run_with_ort_values(["logits", *self.caches.values()], feeds | past)
        except Exception as e:
            raise self._fault(e, "run") from e
        return logits.numpy().astype(np.float32, copy=False), dict(zip(self.caches, presents, strict=True))

    def _fault(self, error: Exception, what: str) -> Exception:
        words = str(error)
        if "allocate memory" in words or "bad allocation" in words or "bad_alloc" in words:
            return Resources(f"out of memory: {words}", "give the stage more memory, or a smaller size")
        return BadInput(self.port, f"{GRAPH} cannot be {what}: {words}")

    def _check_names(self, inputs: set[str], outputs: set[str]) -> None:
        missing = ({"input_ids"} - inputs) | (({"logits"} | set(self.caches.values())) - outputs)
        if missing:
            raise BadInput(self.port, f"{GRAPH} is not the graph of a causal LM: it lacks {', '.join(sorted(missing))}")
        if strange := inputs - {"input_ids", "attention_mask", "position_ids"} - set(self.caches):
            raise BadInput(self.port, f"{GRAPH} has inputs that no causal LM has: {', '.join(sorted(strange))}")

    def _type(self, value: Any) -> str:
        if value.type not in _TYPES:
            raise BadInput(self.port, f"{value.name} of {GRAPH} is {value.type}; float32 and float16 are run")
        return _TYPES[value.type]

    def _whole(self, size: Any, config: dict[str, Any], key: str) -> int:
        """A size that the graph fixes, or else genai_config.json."""
        found = size if isinstance(size, int) else config.get(key)
        if not isinstance(found, int) or found < 1:
            raise BadInput(self.port, f"neither {GRAPH} nor genai_config.json says {key}")
        return found

    def _empty(self, value: Any, decoder: dict[str, Any]) -> tuple[int, int, str]:
        """Heads, size of a head and type of one cache tensor, [batch, heads, past, size]."""
        if len(value.shape) != 4:
            raise BadInput(self.port, f"{value.name} of {GRAPH} has {len(value.shape)} dimensions; a cache has 4")
        heads = self._whole(value.shape[1], decoder, "num_key_value_heads")
        return heads, self._whole(value.shape[3], decoder, "head_size"), self._type(value)


def _genai_config(folder: Path, port: str) -> dict[str, Any]:
    """The part "model" of genai_config.json; empty where there is no such file."""
    path = folder / "genai_config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as e:
        raise BadInput(port, f"genai_config.json cannot be read: {e}") from e
    model = found.get("model", {}) if isinstance(found, dict) else None
    if not isinstance(model, dict):
        raise BadInput(port, "genai_config.json describes no model")
    return model


def _positions(mask: np.ndarray, length: int) -> np.ndarray:
    """Positions, int64 [batch, length], of the last `length` tokens, counted from the first that is not padding."""
    return (mask.cumsum(axis=1) - 1).clip(0)[:, -length:]
