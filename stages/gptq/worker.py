"""GPTQ (arXiv 2210.17323) by llm-compressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.compress.oneshot import make_scheme, quantize
from lib.compress.packed import save
from lib.compress.samples import read_samples
from lib.compress.subject import Subject, open_subject
from tinfra_worker import Fault, Job, run


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
    """GPTQ set up by the params, telling what is done after each decoder layer."""
    from llmcompressor.modifiers.gptq import GPTQModifier

    total = len(subject.layers)

    class Reporting(GPTQModifier):
        # llm-compressor works decoder layer by decoder layer and calls this after each. It copies the modifier and
        # clears the copy at the end, so what is done is kept outside.
        def on_sequential_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            super().on_sequential_epoch_end(*args, **kwargs)
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


if __name__ == "__main__":
    run(main)
