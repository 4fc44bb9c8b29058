"""Metrics of what a GPU did during some runs, from what a result keeps of it."""

from __future__ import annotations

from typing import Any

from lib.gpu.roofline import share


def figures(gpu: dict[str, Any], tokens: int, step: float) -> dict[str, float]:
    """By their names in stage.hcl; what was not told is left out.

    `gpu` is what `meter.told` gives, with `peak_bytes`, `bytes_per_step` and `copy_bytes_per_second` where they are
    known; `tokens` were made in all of the runs, and `step` is the median of their decode steps, in seconds.
    """
    out: dict[str, float] = {}
    names = {"sm_mhz": "gpu_clock_mhz", "celsius": "gpu_temperature_c", "peak_bytes": "gpu_peak_bytes"}
    for name, metric in names.items():
        if name in gpu:
            out[metric] = gpu[name]
    if "slowed" in gpu:
        out["throttled"] = int(bool(gpu["slowed"]))
    if "joules" in gpu:
        out["joules_per_token"] = gpu["joules"] / tokens
    if "bytes_per_step" in gpu:
        out["bytes_per_step"] = gpu["bytes_per_step"]
        if "copy_bytes_per_second" in gpu:
            out["roofline_share"] = share(gpu["bytes_per_step"], step, gpu["copy_bytes_per_second"])
    return out
