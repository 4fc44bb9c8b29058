"""A checkpoint decoded by transformers itself: its own forward pass and its own generate()."""

from __future__ import annotations

import inspect
import weakref
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import DynamicCache, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from lib.llm.checkpoint import check_folder, read_model, read_plainly
from lib.llm.decoder import Made, Unfit
from lib.llm.rows import Rows, open_rows, opened

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Models that decoders hold, by folder and type: two that differ in their cache share the weights.
_LOADED: weakref.WeakValueDictionary[tuple[Path, str], PreTrainedModel] = weakref.WeakValueDictionary()


def open_hub(folder: Path, dtype: str, *, static: bool) -> HubDecoder:
    """Load a checkpoint on the visible GPU, else the CPU; ValueError says what is wrong with it."""
    key = (folder.resolve(), dtype)
    model = _LOADED.get(key)
    if model is None:
        place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = read_model(folder, dtype, place, **read_plainly(check_folder(folder)))
        _LOADED[key] = model
    return HubDecoder(model, static=static)


class HubDecoder:
    """A :class:`~lib.llm.decoder.Decoder`. `generate` is transformers' generate(), as people call it.

    With a static cache its steps are compiled by torch on a GPU, at the first call of each batch size. `feed` is the
    model's plain forward pass with a cache that grows, whichever generate() has.
    """

    def __init__(self, model: PreTrainedModel, *, static: bool = False) -> None:
        self._model, self._static = model, static
        self.vocabulary = model.config.get_text_config().vocab_size
        self.device = model.device
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.engine = f"transformers {transformers.__version__} {self.device.type} {self.dtype}"
        if static:
            self.engine += ", static cache"
        self._picks = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._rows: Rows | None = None
        self._cache: Any = None

    @property
    def weight_bytes(self) -> int:
        """Asked anew each time: weights that were quantized with their activations are unpacked by the first pass."""
        return weight_bytes(self._model)

    def open(self, batch: int, length: int) -> None:
        most = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or length
        self._rows = open_rows(batch, length, most)
        self.rewind()

    @torch.no_grad()
    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        held = opened(self._rows)
        held.room(ids, ids.shape[1])
        rows = rows.to(self.device)
        picked = {"logits_to_keep": rows} if self._picks else {}
        out = self._model(input_ids=ids.to(self.device), past_key_values=self._cache, use_cache=True, **picked)
        self._cache = out.past_key_values
        held.longest += ids.shape[1]
        return out.logits if self._picks else out.logits[:, rows]

    def rewind(self, length: int | torch.Tensor = 0) -> None:
        held = opened(self._rows)
        if isinstance(length, torch.Tensor):
            found = length.unique()
            if len(found) > 1:
                raise Unfit("transformers' cache holds rows of one length")
            length = int(found)
        if length == 0:
            self._cache = DynamicCache(config=self._model.config)
        elif length < held.longest:
            self._cache.crop(length - held.longest)
        held.longest = length

    @torch.no_grad()
    def generate(self, ids: torch.Tensor, tokens: int, bar: torch.Tensor) -> Made:
        self.rewind()
        opened(self._rows).room(ids, ids.shape[1] + tokens)
        # What the checkpoint says of sampling is set aside: generate() fills in from there what it is not told.
        self._model.generation_config = GenerationConfig()
        clock = _Clock(self.device)
        prompt = ids.to(self.device)
        made = self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=self._config(tokens, bar.tolist()),
            stopping_criteria=StoppingCriteriaList([clock]),
        )
        return Made(made[:, ids.shape[1] :].cpu(), *clock.told())

    def _config(self, tokens: int, ends: list[int]) -> GenerationConfig:
        """min_new_tokens bars the tokens that end a text."""
        return GenerationConfig(
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            cache_implementation="static" if self._static else None,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
        )


class _Clock(StoppingCriteria):
    """Stops nothing; generate() asks it each step, when its tokens are chosen. Only the first step's are waited for."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._stamps: list[Any] = []
        self._begin = perf_counter()
        self._first = 0.0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_kwargs: Any) -> torch.Tensor:
        if self._cuda:
            self._stamps.append(torch.cuda.Event(enable_timing=True))
            self._stamps[-1].record()
        if not self._first:
            if self._cuda:
                self._stamps[0].synchronize()
            self._first = perf_counter()
        if not self._cuda:
            self._stamps.append(perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    def told(self) -> tuple[float, list[float]]:
        """Seconds until the first token, and of each step after it."""
        pairs = list(zip(self._stamps, self._stamps[1:], strict=False))
        if not self._cuda:
            return self._first - self._begin, [b - a for a, b in pairs]
        self._stamps[-1].synchronize()
        return self._first - self._begin, [a.elapsed_time(b) / 1000 for a, b in pairs]


def weight_bytes(model: PreTrainedModel) -> int:
    """What a step reads of the weights, as they lie in memory: all but the embedding, unless it is the head too."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    total = 0
    for name, weight in model.named_parameters():
        if not name.endswith(("weight", "bias")):
            continue  # scales of weights that are unpacked
        state = getattr(weight, "quant_state", None)  # bitsandbytes keeps the scales of 4-bit weights there
        total += weight.nbytes + (0 if state is None else state.absmax.nbytes)
    return total if head is embedding else total - embedding.nbytes
