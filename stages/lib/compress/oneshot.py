"""Quantizing in place by llm-compressor: the grid, rounding onto it, and carrying modifiers out.

It knows nothing of how a scheme finds what to round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.compress.cost import timed
from lib.compress.samples import as_data
from lib.compress.subject import Subject
from lib.llm.checkpoint import device
from tinfra_worker import BadParam, Job

if TYPE_CHECKING:
    import torch
    from compressed_tensors.quantization import QuantizationScheme

# llm-compressor's own: the others average over batches, and a weight is seen once.
OBSERVERS = {"minmax": "memoryless_minmax", "mse": "memoryless_mse", "imatrix": "imatrix_mse"}


def make_scheme(job: Job) -> QuantizationScheme:
    """The grid that params `bits`, `group_size`, `symmetric` and `observer` ask for."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    return QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(
            num_bits=job.param("bits", int),
            type="int",
            symmetric=job.param("symmetric", bool),
            strategy="group",
            group_size=job.param("group_size", int),
            observer=OBSERVERS[job.param("observer", str)],
        ),
    )


def make_rounding(job: Job, subject: Subject, scheme: QuantizationScheme | None = None) -> Any:
    """The modifier that rounds each weight to the nearest point of a grid, by default that of :func:`make_scheme`."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    total, done = len(subject.layers), 0

    class Rounding(QuantizationModifier):
        # All modules come at once where there is no calibration. Layer by layer there is something to tell.
        def on_sequential_epoch_end(self, state: Any, event: Any, modules: Any, **kwargs: Any) -> None:
            nonlocal done
            for module in subject.among(modules):
                super().on_sequential_epoch_end(state, event, [module], **kwargs)
                done += 1
                job.progress(done, total, "linear layers", "rounding")

    return Rounding(config_groups={"weights": scheme or make_scheme(job)}, ignore=subject.ignore)


def quantize(job: Job, subject: Subject, modifiers: list[Any], samples: torch.Tensor | None = None) -> None:
    """Carry out llm-compressor's modifiers on the model, in place. Rounding alone needs no samples."""
    from llmcompressor import oneshot

    head = subject.model.get_output_embeddings()
    with timed(job, "quantize"):
        oneshot(
            model=subject.model,
            recipe=modifiers,
            # By default the head is torn from the embedding, and a model of 135 million weights grows by a quarter.
            tie_word_embeddings=head not in subject.layers.values(),
            **({} if samples is None else as_data(samples)),
        )
        cast_rest(job, subject)


def cast_rest(job: Job, subject: Subject) -> None:
    """Give what is not packed, scales too, the type that param `rest` names. No packed number may change by it."""
    import torch
    from compressed_tensors.offload import remove_dispatch, set_onload_device

    rest = job.param("rest", str)
    if rest == "keep":
        return
    # A cast reaches copies on the GPU only, as long as llm-compressor brings layers there. Packing needs that again.
    remove_dispatch(subject.model)
    cast(subject, getattr(torch, rest), rest)
    set_onload_device(subject.model, device(job))


def cast(subject: Subject, dtype: torch.dtype, rest: str) -> None:
    """Cast all that is not packed, in the machine's memory; :class:`BadParam` names `rest` where it is too coarse."""
    import torch

    for name, layer in subject.layers.items():
        packed = codes(layer)
        layer.to(dtype)
        # Rounding leaves the weights between the points of the grid: of another type they could fall to another one.
        layer.weight.data = values(layer, packed)
        if not torch.equal(packed, codes(layer)):
            raise BadParam("rest", f"{rest} is too coarse for the weights of {name}", 'set rest = "keep"')
    model = subject.model.to(dtype)
    for name, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            raise BadParam("rest", f"{name} holds numbers too large for {rest}", 'set rest = "keep"')


def codes(layer: torch.nn.Linear) -> torch.Tensor:
    """The numbers that packing will store for a quantized layer."""
    import torch
    from compressed_tensors.quantization.lifecycle.forward import quantize as encode

    args = layer.quantization_scheme.weights
    return encode(layer.weight, layer.weight_scale, getattr(layer, "weight_zero_point", None), args, dtype=torch.int8)


def values(layer: torch.nn.Linear, packed: torch.Tensor) -> torch.Tensor:
    """The weight that packed numbers stand for, in the type of the layer's scales."""
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    zero = getattr(layer, "weight_zero_point", None)
    return dequantize(packed, layer.weight_scale, zero, layer.quantization_scheme.weights)
