"""onnxruntime-genai's model builder, given a model that is loaded already.

It knows the builder's options and where version 0.18 must be led; it knows no stage. The builder chooses what to write
by what it finds on the modules: `qweight` makes a MatMulNBits node, anything else a MatMul.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

HEAD = "/lm_head/MatMul"
HEAD_BLOCK = 16  # group size of a head that the builder rounds: as fast as 32 on a CPU, and nearer


class Unsupported(Exception):
    """The builder cannot take this model."""


@dataclass(frozen=True)
class Options:
    """What to build: whether any layer is packed, the head as `keep`, `int8` or `int4`, MatMulNBits' accuracy level."""

    packed: bool
    head: str
    accuracy_level: int


def build(model: PreTrainedModel, config: PretrainedConfig, out: Path, options: Options) -> None:
    """Write model.onnx, model.onnx.data and genai_config.json of a model to a folder."""
    import onnxruntime_genai.models.builder as genai  # its package puts its own folder on sys.path
    import torch
    from builders.base import Model

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    _check_head(model, config)
    head = model.get_output_embeddings()
    for module in model.modules():
        # Whatever is float and not to be rounded; the mark also keeps q, k and v apart, so float graphs go without.
        if options.packed and isinstance(module, torch.nn.Linear) and not hasattr(module, "qweight"):
            module.exclude_from_quantization = module is not head or options.head == "keep"
    keep = not options.packed or options.head == "keep"
    extra: dict[str, Any] = {
        "hf_details": {"extra_kwargs": {}, "hf_name": str(out), "hf_config": config},
        "hf_token": None,
        "accuracy_level": options.accuracy_level,
        "block_size": HEAD_BLOCK,
        "op_types_to_quantize": ("MatMul",),
        "nodes_to_exclude": [HEAD] if keep else [],
        # The embedding is the head's matrix, turned on loading, where the model ties them and it stays float.
        "shared_embeddings": keep and config.tie_word_embeddings and not hasattr(head, "qweight"),
    }
    if not keep:
        extra["matmul_mixed_precision"] = {"last_matmul": options.head}
    with tempfile.TemporaryDirectory() as cache, _led(Model, model, keep) as used:
        try:
            genai.create_model(None, str(out), str(out), "int4" if options.packed else "fp32", "cpu", cache, **extra)
        except (NotImplementedError, ValueError, KeyError, AttributeError) as e:
            raise Unsupported(f"{type(e).__name__}: {e}") from e
    if not used:
        raise Unsupported(f"it loads the weights of {config.architectures[0]} in a way of its own")


def _check_head(model: PreTrainedModel, config: PretrainedConfig) -> None:
    """The builder takes every Linear with as many outputs as the vocabulary for the head."""
    import torch

    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module.out_features == config.vocab_size and module is not head:
            raise Unsupported(f"{name} has as many outputs as the vocabulary has tokens, and passes for the head")


@contextmanager
def _led(base: Any, model: PreTrainedModel, keep: bool) -> Iterator[list[str]]:
    """Replace those methods of the builder's base class that would read, round or stamp otherwise, for a while."""
    used: list[str] = []

    def load_weights(_self: Any, path: str) -> PreTrainedModel:
        used.append(path)
        return model

    def stamp(graph: Any) -> None:
        # As it stands it adds the commit of whatever git checkout lies around the environment.
        graph.producer_version = base.get_genai_version()

    led = {
        "load_weights": load_weights,
        # It would write the tokenizer as AutoTokenizer reads it, with another pre-tokenizer.
        "save_processing": lambda *_: None,
        "stamp_build_metadata": staticmethod(stamp),
    }
    if keep:
        # Nothing is left to round, and the way through protobuf would copy every tensor, some over its 2 GiB.
        led["to_nbits"] = lambda self: self.model
    before = {name: base.__dict__[name] for name in led}
    for name, method in led.items():
        setattr(base, name, method)
    try:
        yield used
    finally:
        for name, method in before.items():
            setattr(base, name, method)
