"""One GPU as the driver's management library (NVML, by nvidia-ml-py) tells of it.

The library is an object that is passed in, so that a test may tell of a GPU that is not there. What a GPU, a driver or
a virtual machine does not tell is None, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# Reasons by which the clocks are lower than the load asks for, by their bits in NVML. Idleness and clocks that somebody
# has set are none: they are no fault of the run.
SLOWED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat, by software",
    0x40: "heat, by hardware",
    0x80: "power brake",
}


@dataclass(frozen=True)
class Sample:
    """What a GPU was like at a moment, `at` in seconds of perf_counter; `slowed` holds the bits of SLOWED."""

    at: float
    sm_mhz: int | None
    memory_mhz: int | None
    celsius: int | None
    watts: float | None
    slowed: int | None


@dataclass(frozen=True)
class Device:
    """`nvml` is the module pynvml, or what stands in its place; `handle` is its own."""

    nvml: Any
    handle: Any

    def read(self, ask: Callable[[Any, Any], Any]) -> Any:
        """What `ask` gets of the library and the handle; None where this GPU or driver does not tell."""
        try:
            return ask(self.nvml, self.handle)
        except (self.nvml.NVMLError, AttributeError):  # an older nvidia-ml-py has not every function
            return None

    def sample(self, at: float) -> Sample:
        watts = self.read(lambda n, h: n.nvmlDeviceGetPowerUsage(h))
        return Sample(
            at,
            self.read(lambda n, h: n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM)),
            self.read(lambda n, h: n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_MEM)),
            self.read(lambda n, h: n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU)),
            None if watts is None else watts / 1000,
            self.read(lambda n, h: n.nvmlDeviceGetCurrentClocksEventReasons(h)),
        )

    def joules(self) -> float | None:
        """All that the GPU has used since its driver was loaded."""
        spent = self.read(lambda n, h: n.nvmlDeviceGetTotalEnergyConsumption(h))
        return None if spent is None else spent / 1000

    def describe(self) -> dict[str, str]:
        """Name, driver, and the limits that decide how fast it may get."""
        asked: dict[str, Callable[[Any, Any], Any]] = {
            "name": lambda n, h: n.nvmlDeviceGetName(h),
            "driver": lambda n, _: n.nvmlSystemGetDriverVersion(),
            "sm_mhz_max": lambda n, h: n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM),
            "memory_mhz_max": lambda n, h: n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_MEM),
            "watts_limit": lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) // 1000,
            "ecc": lambda n, h: "on" if n.nvmlDeviceGetEccMode(h)[0] else "off",
        }
        said = {name: self.read(ask) for name, ask in asked.items()}
        return {name: str(value) for name, value in said.items() if value is not None}


def open_device(gpu: str, nvml: Any = None) -> Device | None:
    """The GPU of an id as in CUDA_VISIBLE_DEVICES; None where there is no NVML, or none that knows it."""
    if nvml is None:
        try:
            import pynvml as nvml
        except ImportError:
            return None
    with suppress(nvml.NVMLError):
        nvml.nvmlInit()
        if gpu.isdigit():
            return Device(nvml, nvml.nvmlDeviceGetHandleByIndex(int(gpu)))
        return Device(nvml, nvml.nvmlDeviceGetHandleByUUID(gpu))
    return None
