"""Whether a GPU has nothing else to do. To be asked before this process uses it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lib.gpu.device import Device

PATIENCE = (
    5.0  # seconds: the driver counts use over up to a second, and a process that has ended is seen a little longer
)
INTERVAL = 0.5
HELD = 2 << 30  # bytes that a driver may hold without anybody using the GPU


@dataclass(frozen=True)
class Idleness:
    """`trouble` says, in words, what else the GPU does; empty: nothing, as far as the driver tells."""

    used_percent: int | None
    held_bytes: int | None
    others: int | None  # processes that compute on it
    waited_seconds: float
    trouble: list[str] = field(default_factory=list)


def check_idle(device: Device, sleep: Callable[[float], None] = time.sleep) -> Idleness:
    """Look until nothing else uses the GPU, PATIENCE seconds at most."""
    waited = 0.0
    while True:
        found = _look(device, waited)
        if not found.trouble or waited >= PATIENCE:
            return found
        sleep(INTERVAL)
        waited += INTERVAL


def _look(device: Device, waited: float) -> Idleness:
    used = device.read(lambda n, h: n.nvmlDeviceGetUtilizationRates(h).gpu)
    held = device.read(lambda n, h: n.nvmlDeviceGetMemoryInfo(h).used)
    running = device.read(lambda n, h: n.nvmlDeviceGetComputeRunningProcesses(h))
    others = None if running is None else sum(p.pid != os.getpid() for p in running)
    trouble = []
    if used:
        trouble.append(f"it is {used} % busy")
    if others:
        trouble.append(f"{others} other process{'es' if others > 1 else ''} compute on it")
    if held is not None and held > HELD:
        trouble.append(f"{held / 1e9:.1f} GB of its memory are held")
    return Idleness(used, held, others, waited, trouble)
