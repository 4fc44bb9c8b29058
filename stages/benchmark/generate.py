"""transformers' own generate(), as people call it."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from benchmark.asked import Asked
from lib.llm.checkpoint import device, load_model
from lib.speed.samples import Run, from_stamps
from tinfra_worker import Job


class Clock(StoppingCriteria):
    """Stops nothing; generate() asks it once each step, when the step's tokens are chosen."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_kwargs: Any) -> torch.Tensor:
        if input_ids.is_cuda:
            torch.cuda.synchronize()
        self.stamps.append(perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class Generate:
    """Greedy, with a key-value cache that grows (the default one)."""

    def __init__(self, job: Job, asked: Asked) -> None:
        self._job, self._dtype, self._threads = job, asked.dtype, asked.threads
        self._device = device(job)
        torch.zeros(1, device=self._device)  # starts CUDA, which takes seconds and is not the model's load
        self.name = f"transformers {transformers.__version__} {self._device.type} {asked.dtype}"
        self.versions = {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
        self.ends: frozenset[int] = frozenset()
        self.weight_bytes = 0
        self._model: Any = None

    def load(self) -> None:
        self._model = load_model(self._job, "model", self._dtype)
        torch.set_num_threads(self._threads)
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        ends = self._model.generation_config.eos_token_id
        # What the checkpoint says of sampling is set aside: generate() fills in from here what it is not told.
        self._model.generation_config = GenerationConfig()
        self.ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self.weight_bytes = read_in_a_step(self._model)

    def first_logits(self, ids: np.ndarray) -> np.ndarray:
        logits = self._call(ids, 1, output_logits=True, return_dict_in_generate=True).logits[0]
        return logits.float().cpu().numpy()

    def run(self, ids: np.ndarray, tokens: int) -> Run:
        clock = Clock()
        start = perf_counter()
        made = self._call(ids, tokens, stopping_criteria=StoppingCriteriaList([clock]))
        return from_stamps(start, clock.stamps, made[:, ids.shape[1] :].T.tolist())

    def device_peak(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._device.type == "cuda" else None

    def _call(self, ids: np.ndarray, tokens: int, **options: Any) -> Any:
        """min_new_tokens bars the tokens that end a text."""
        stopping = options.pop("stopping_criteria", None)
        config = GenerationConfig(
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=sorted(self.ends) or None,
            pad_token_id=min(self.ends, default=0),
            **options,
        )
        prompt = torch.from_numpy(ids).to(self._device)
        return self._model.generate(
            prompt, attention_mask=torch.ones_like(prompt), generation_config=config, stopping_criteria=stopping
        )


def read_in_a_step(model: torch.nn.Module) -> int:
    """Bytes of all weights but the embedding, of which a step gathers a row; of a tied one it reads all as the head."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t is not embedding or embedding is head]
    return sum(t.nbytes for t in tensors)
