"""onnxruntime-genai's Generator on the CPU."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime_genai as og

from benchmark.asked import Asked, Model
from lib.speed.samples import Run, from_stamps
from tinfra_worker import BadInput


class Genai:
    """Greedy search over one graph; prompts of equal length go in as one batch."""

    def __init__(self, model: Model, asked: Asked) -> None:
        og.disable_telemetry_events()
        self.name = f"onnxruntime-genai {og.__version__} cpu"
        self.versions = {"onnxruntime-genai": og.__version__, "numpy": np.__version__}
        self.ends: frozenset[int] = frozenset()
        self.weight_bytes = 0
        self._folder, self._threads = model.subject.folder, asked.threads
        self._model: Any = None

    def load(self) -> None:
        try:
            written = json.loads((self._folder / "genai_config.json").read_text(encoding="utf-8"))
            ends = written["model"]["eos_token_id"]
            config = og.Config(str(self._folder))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as e:
            raise BadInput("model", f"genai_config.json of the model does not work: {e}") from e
        self.ends = frozenset(ends if isinstance(ends, list) else [ends])
        session = {"intra_op_num_threads": self._threads, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        try:
            self._model = og.Model(config)
        except RuntimeError as e:
            raise BadInput("model", f"onnxruntime-genai cannot load the graph: {e}") from e

    def first_logits(self, ids: np.ndarray) -> np.ndarray:
        generator = self._generator(ids, 1)
        generator.append_tokens(ids.astype(np.int32))
        logits = np.array(generator.get_logits(), dtype=np.float32)
        return logits.reshape(len(ids), -1, logits.shape[-1])[:, -1]

    def run(self, ids: np.ndarray, tokens: int) -> Run:
        narrow = ids.astype(np.int32)
        stamps, made = [], []
        start = perf_counter()
        generator = self._generator(ids, tokens)
        generator.append_tokens(narrow)
        while not generator.is_done():
            generator.generate_next_token()
            made.append(generator.get_next_tokens())
            stamps.append(perf_counter())
        return from_stamps(start, stamps, [row.tolist() for row in made])

    def device_peak(self) -> int | None:
        return None

    def _generator(self, ids: np.ndarray, tokens: int) -> Any:
        """What the graph's folder says of sampling is set aside. Lengths count the prompt; min_length bars the ends."""
        batch, prompt = ids.shape
        params = og.GeneratorParams(self._model)
        params.set_search_options(
            batch_size=batch,
            min_length=prompt + tokens,
            max_length=prompt + tokens,
            do_sample=False,
            num_beams=1,
            num_return_sequences=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
        )
        return og.Generator(self._model, params)
