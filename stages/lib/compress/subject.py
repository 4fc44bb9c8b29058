"""The model that is to be quantized, checked before anything long begins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lib.compress.cost import timed
from lib.llm.checkpoint import check_model, device, load_model
from tinfra_worker import BadInput, BadParam, Job

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass
class Subject:
    """A model, and its layers that are to be quantized, by name."""

    model: PreTrainedModel
    layers: dict[str, torch.nn.Linear]
    ignore: list[str]
    _members: set[torch.nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        self._members = set(self.layers.values())

    def among(self, modules: Iterable[torch.nn.Module]) -> list[torch.nn.Module]:
        """Those of the modules that are to be quantized, in their order."""
        return [m for m in modules if m in self._members]


def open_subject(job: Job) -> Subject:
    """Input `model` in its own type, and what of it params `ignore` and `group_size` let be quantized.

    It stays in the machine's memory: llm-compressor brings a decoder layer at a time to the GPU, which need not be able
    to hold it whole.
    """
    if "quantization_config" in check_model(job, "model"):
        raise BadInput(
            "model", "the model is quantized already", f"give {job.request.kind} the model before it was quantized"
        )
    ignore = read_ignore(job)
    job.log("loading the model")
    with timed(job, "load"):
        model = load_model(job, "model", "auto", resident=False)
        return Subject(model, find_layers(job, model, ignore), ignore)


def read_ignore(job: Job) -> list[str]:
    """Param `ignore`: names, or re: and a regular expression that :mod:`re` takes."""
    ignore = job.strings("ignore")
    for pattern in ignore:
        try:
            re.compile(pattern.removeprefix("re:"))
        except re.error as e:
            raise BadParam("ignore", f"{pattern!r} is no regular expression: {e}") from e
    return ignore


def find_layers(job: Job, model: PreTrainedModel, ignore: list[str]) -> dict[str, torch.nn.Linear]:
    """The layers to quantize, by name; :class:`BadParam` when there are none or the group does not divide one."""
    from compressed_tensors.utils import match_named_modules

    found = dict(match_named_modules(model, ["Linear"], ignore))
    if not found:
        raise BadParam("ignore", "no layer is left to quantize")
    group = job.params.get("group_size")  # a scheme without groups has no such param
    for name, layer in found.items():
        if group and layer.in_features % group:
            fitting = ", ".join(map(str, divisors(found.values())))
            raise BadParam(
                "group_size",
                f"group_size is {group}; it does not divide the {layer.in_features} inputs of {name}",
                f"choose one of {fitting}" if fitting else f"name {name} in ignore",
            )
        # Rounding turns NaN into some number, and nothing would tell.
        if not layer.weight.to(device(job)).isfinite().all():
            raise BadInput("model", f"the weight of {name} holds NaN or infinite numbers")
    return found


def divisors(layers: Iterable[torch.nn.Linear]) -> list[int]:
    """Powers of two from 16 that divide the input size of every layer."""
    sizes = [layer.in_features for layer in layers]
    return [g for g in (16, 32, 64, 128, 256) if all(size % g == 0 for size in sizes)]
