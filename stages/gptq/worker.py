"""GPTQ (arXiv 2210.17323) by llm-compressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gptq.pieces import Piece, Pieces
from lib.compress.oneshot import make_scheme, quantize
from lib.compress.packed import save
from lib.compress.samples import read_samples
from lib.compress.subject import Subject, open_subject
from tinfra_worker import Fault, Job, run

if TYPE_CHECKING:
    import torch


@dataclass
class Tally:
    """Layers quantized, and merely rounded."""

    done: int = 0
    fallbacks: int = 0


def main(job: Job) -> None:
    subject = open_subject(job)
    tally = compress(job, subject)
    save(job, subject)
    job.metric("rtn_fallbacks", tally.fallbacks)


def compress(job: Job, subject: Subject) -> Tally:
    """Quantize the model in place; returns what was done."""
    samples = read_samples(job, subject.model)
    tally = Tally()
    quantize(job, subject, [make_modifier(job, subject, tally)], samples)
    if tally.done != len(subject.layers):
        raise Fault(
            f"llm-compressor quantized {tally.done} of {len(subject.layers)} layers: do all samples reach all of them?"
        )
    if tally.fallbacks:
        job.log(
            f"{tally.fallbacks} of {tally.done} layers were rounded to nearest: their Hessian could not be inverted",
            "warning",
        )
    return tally


def make_modifier(job: Job, subject: Subject, tally: Tally) -> Any:
    """GPTQ set up by the params, telling and keeping what is done after each decoder layer."""
    from llmcompressor.modifiers.gptq import GPTQModifier

    total = len(subject.layers)
    pieces = Pieces(job)
    finished: set[torch.nn.Module] = set()  # by an earlier attempt

    class Reporting(GPTQModifier):
        # llm-compressor 0.14 cannot go on with a model that is half done (its issue 1410 asks for that). So what it
        # made of a layer is put in place, and the layer neither calibrated nor quantized again. The samples still pass
        # through it, and the layers behind see what they would have seen.
        def on_calibration_start(self, state: Any, event: Any, **kwargs: Any) -> None:
            super().on_calibration_start(state, event, **kwargs)
            for piece in pieces.restored():
                found = put_back(subject, piece)
                finished.update(found)
                self._num_compressed_modules += len(found)
                self._rtn_fallback_module_names += piece.rounded
            self.tell()

        def calibrate_module(self, module: Any, *args: Any) -> None:
            if module not in finished:
                super().calibrate_module(module, *args)

        # llm-compressor works decoder layer by decoder layer and calls this after each.
        def on_sequential_epoch_end(self, state: Any, event: Any, modules: Any, **kwargs: Any) -> None:
            names, rounded = [self._module_names[m] for m in self._num_samples], len(self._rtn_fallback_module_names)
            super().on_sequential_epoch_end(state, event, [m for m in modules if m not in finished], **kwargs)
            if names:
                pieces.keep(Piece(parameters(subject, names), self._rtn_fallback_module_names[rounded:]))
            self.tell()

        # The modifier is a copy, and cleared at the end, so what is done is kept outside.
        def tell(self) -> None:
            if self._num_compressed_modules > tally.done:
                tally.done = self._num_compressed_modules
                job.progress(tally.done, total, "linear layers", "quantizing")
            tally.fallbacks = len(self._rtn_fallback_module_names)

    order = job.param("act_order", str)
    job.progress(0, total, "linear layers", "quantizing")
    return Reporting(
        config_groups={"weights": make_scheme(job)},
        ignore=subject.ignore,
        dampening_frac=job.param("damping", float),
        block_size=job.param("block_size", int),
        actorder=None if order == "none" else order,
    )


def parameters(subject: Subject, names: list[str]) -> dict[str, torch.Tensor]:
    """All parameters of the named layers, by full name: weights, scales and zero points."""
    layers = ((name, subject.layers[name]) for name in names)
    return {
        f"{name}.{part}": value.detach().cpu()
        for name, layer in layers
        for part, value in layer.named_parameters("", False)
    }


def put_back(subject: Subject, piece: Piece) -> list[torch.nn.Module]:
    """Give layers the parameters that an earlier attempt found; returns the layers."""
    from compressed_tensors.offload import update_offload_parameter

    names = {}
    for full, value in piece.tensors.items():
        name, _, part = full.rpartition(".")
        layer = names[name] = subject.layers[name]
        update_offload_parameter(layer, part, value)
    for layer in names.values():
        layer.weight_observer.detach(layer)  # imatrix looks at the samples too
    return list(names.values())


if __name__ == "__main__":
    run(main)
