"""Weights and activations in 8 bits by llm-compressor: SmoothQuant (arXiv 2211.10438), then rounding to nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.compress.oneshot import OBSERVERS, make_rounding, quantize
from lib.compress.packed import save
from lib.compress.samples import read_samples
from lib.compress.subject import Subject, open_subject
from tinfra_worker import BadInput, Job, run

if TYPE_CHECKING:
    from compressed_tensors.quantization import QuantizationScheme

BITS = 8


def main(job: Job) -> None:
    subject = open_subject(job)
    compress(job, subject)
    save(job, subject)


def compress(job: Job, subject: Subject) -> None:
    """Quantize the model in place."""
    samples = read_samples(job, subject.model)
    rounding = make_rounding(job, subject, make_scheme(job))
    strength = job.param("smoothing", float)
    quantize(job, subject, [make_smoothing(subject, strength), rounding] if strength else [rounding], samples)


def make_scheme(job: Job) -> QuantizationScheme:
    """A scale for each row of a weight, and one for all inputs of a layer, both around zero and known beforehand."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    eight = {"num_bits": BITS, "type": "int", "symmetric": True}
    return QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(**eight, strategy="channel", observer=OBSERVERS[job.param("observer", str)]),
        input_activations=QuantizationArgs(**eight, strategy="tensor", dynamic=False, observer="static_minmax"),
    )


def make_smoothing(subject: Subject, strength: float) -> Any:
    """The modifier that moves what is loud in a norm's outputs into the weights behind it."""
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    class Checked(SmoothQuantModifier):
        def _resolve_mappings(self, model: Any) -> Any:
            try:
                return super()._resolve_mappings(model)
            except (ValueError, RuntimeError) as e:
                name = type(subject.model).__name__
                raise BadInput(
                    "model", f"SmoothQuant does not know which layers follow which norm in {name}", "set smoothing = 0"
                ) from e

    return Checked(smoothing_strength=strength, ignore=subject.ignore)


if __name__ == "__main__":
    run(main)
