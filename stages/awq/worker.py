"""AWQ (arXiv 2306.00978) by llm-compressor: channels that matter are scaled up before all are rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.compress.oneshot import make_rounding, quantize
from lib.compress.packed import save
from lib.compress.samples import read_samples
from lib.compress.subject import Subject, open_subject
from tinfra_worker import BadInput, Job, run

# Both tries each grid point with and without the weights' own size in the scale.
DUO_SCALING = {"on": True, "off": False, "both": "both"}


@dataclass
class Tally:
    """Layers whose inputs were rescaled, and those that the search is through with."""

    scaled: int = 0
    searched: int = 0


def main(job: Job) -> None:
    subject = open_subject(job)
    tally = compress(job, subject)
    save(job, subject)
    job.metric("scaled_layers", tally.scaled)


def compress(job: Job, subject: Subject) -> Tally:
    """Quantize the model in place; returns what was done."""
    samples = read_samples(job, subject.model)
    tally = Tally()
    if not job.request.gpus:
        skip_pinning()
    quantize(job, subject, [make_scaling(job, subject, tally), make_rounding(job, subject)], samples)
    return tally


def skip_pinning() -> None:
    """Let the cache of activations stay in ordinary memory.

    llm-compressor 0.14.0.1 pins it before each search without asking whether there is a GPU to copy to, and a torch
    that was built for CUDA then fails: "RuntimeError: Found no NVIDIA driver on your system".
    """
    from llmcompressor.pipelines.cache import IntermediatesCache

    IntermediatesCache.pin_memory = lambda _self, _batch_index, _input_names=None: None


def make_scaling(job: Job, subject: Subject, tally: Tally) -> Any:
    """The search for scales, set up by the params, telling what is done after each decoder layer."""
    from llmcompressor.modifiers.transform.awq import AWQModifier

    total = len(subject.layers)

    class Reporting(AWQModifier):
        def _set_resolved_mappings(self, model: Any) -> None:
            try:
                super()._set_resolved_mappings(model)
            except ValueError as e:
                raise unknown_layers(subject) from e
            # Where all layers that would gain are ignored, llm-compressor 0.14.0.1 scales them the same if the layer
            # before them is to be quantized, and fails: it averages over no weights.
            self._resolved_mappings = [m for m in self._resolved_mappings if subject.among(m.balance_layers)]
            if not self._resolved_mappings:
                raise unknown_layers(subject)

        # llm-compressor copies the modifier and clears the copy at the end, so what is done is kept outside.
        def on_sequential_epoch_end(self, state: Any, event: Any, modules: Any, **kwargs: Any) -> None:
            super().on_sequential_epoch_end(state, event, modules=modules, **kwargs)
            if found := subject.among(modules):
                tally.searched += len(found)
                job.progress(tally.searched, total, "linear layers", "searching scales")
            smoothed = {m["layer_name"] for m in self._error_metrics}
            scaled = [m.balance_layers for m in self._resolved_mappings if m.smooth_name in smoothed]
            tally.scaled = sum(len(subject.among(layers)) for layers in scaled)

    job.progress(0, total, "linear layers", "searching scales")
    return Reporting(duo_scaling=DUO_SCALING[job.param("duo_scaling", str)], n_grid=job.param("grid", int))


def unknown_layers(subject: Subject) -> BadInput:
    """What to say of a model whose layers llm-compressor does not know by name."""
    name = type(subject.model).__name__
    return BadInput("model", f"AWQ finds no layers to scale against each other in {name}", "use gptq for this model")


if __name__ == "__main__":
    run(main)
