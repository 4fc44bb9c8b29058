"""Evenly spaced calibration samples of a text."""

from __future__ import annotations

from lib.llm.text import encode, load_tokenizer, read_text
from tinfra_worker import BadInput, Job, run


def main(job: Job) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    samples, length = job.param("samples", int), job.param("length", int)
    text = read_text(job, "text")
    job.progress(0, len(text), "characters", "tokenizing")
    ids = encode(load_tokenizer(job, "tokenizer"), text)
    job.progress(len(text), len(text), "characters", "tokenizing")
    step = len(ids) // samples
    if step < length:
        raise BadInput(
            "text",
            f"the text has {len(ids)} tokens; {samples} samples of {length} need {samples * length}",
            f"give it more text, or at most {len(ids) // length} samples of that length",
        )
    rows = np.stack([ids[i * step : i * step + length] for i in range(samples)])
    save_file({"input_ids": rows}, job.output("tokens") / "tokens.safetensors")
    job.metric("samples", samples)
    job.metric("tokens", rows.size)
    job.observe("tokens_in_text", str(len(ids)))


if __name__ == "__main__":
    run(main)
