"""Any backend of lib/llm/decoder.py, whose steps are timed where they run."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.asked import Asked, Model
from lib.llm.checkpoint import device
from lib.llm.decoder import Decoder, Unfit, open_decoder
from lib.speed.samples import Run
from tinfra_worker import BadInput, BadParam, Job


class Decoded:
    """Greedy, through the decoder's own loop; an engine, a compiled step or a captured graph starts before any run."""

    def __init__(self, job: Job, asked: Asked, model: Model) -> None:
        self._model, self._length = model, asked.prompt + asked.tokens
        self._threads = asked.threads
        torch.zeros(1, device=device(job))  # starts CUDA, which takes seconds and is not the model's load
        self.name = model.backend  # until its version is known
        self.versions = {"torch": torch.__version__, "numpy": np.__version__}
        self.ends = model.subject.ends
        self.weight_bytes = 0
        self._decoder: Decoder

    def load(self) -> None:
        torch.set_num_threads(self._threads)
        backend = self._model.backend
        try:
            self._decoder = open_decoder(self._model.subject.folder, backend, self._model.dtype)
        except ImportError as e:
            raise BadParam(
                "backend",
                f"{backend} needs {e.name}, which this environment does not have",
                "a contest times it: its environment is gpu",
            ) from e
        except ValueError as e:
            raise BadInput("model", f"{backend} cannot run the model: {e}") from e
        if self._decoder.device.type == "cuda":
            torch.cuda.synchronize()
        self.name = self._decoder.engine  # which names device and type
        self.weight_bytes = self._decoder.weight_bytes

    def first_logits(self, ids: np.ndarray) -> np.ndarray:
        try:
            self._decoder.open(len(ids), self._length)
        except Unfit as e:
            raise BadParam("batch", str(e)) from e
        with torch.inference_mode():
            logits = self._decoder.feed(torch.from_numpy(ids), torch.tensor([ids.shape[1] - 1]))
        return logits[:, 0].float().cpu().numpy()

    def run(self, ids: np.ndarray, tokens: int) -> Run:
        bar = torch.tensor(sorted(self.ends), dtype=torch.int64)
        made = self._decoder.generate(torch.from_numpy(ids), tokens, bar)
        return Run(made.first_seconds, list(made.step_seconds), made.tokens.T.tolist())

    def device_peak(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._decoder.device.type == "cuda" else None
