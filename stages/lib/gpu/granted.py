"""The GPU that a stage was granted, looked at before anything uses it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lib.gpu.device import Device, open_device
from lib.gpu.idle import check_idle
from tinfra_worker import Job


@dataclass(frozen=True)
class Granted:
    """`device` is None without a GPU, and where the driver tells nothing of it. `told` is for a result to keep."""

    device: Device | None = None
    told: dict[str, Any] = field(default_factory=dict)


def look_at(job: Job, nvml: Any = None) -> Granted:
    """Open the GPU's own account of itself and see that it is idle, with a warning where it is not."""
    if not job.request.gpus:
        return Granted()
    device = open_device(job.request.gpus[0], nvml)
    if device is None:
        job.log("the driver's management library tells nothing of the GPU: no clocks, heat or energy", "warning")
        return Granted()
    idle = check_idle(device)
    if idle.trouble:
        job.log(f"the GPU is not idle: {', '.join(idle.trouble)}; the figures will suffer", "warning")
    return Granted(device, {"device": device.describe(), "idle": asdict(idle)})
