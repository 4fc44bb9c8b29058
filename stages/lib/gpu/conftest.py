"""A management library that tells of a GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest


class NVMLError(Exception):
    """As pynvml's."""


class FakeNvml:
    """Answers as pynvml does. `missing` are functions that the GPU does not support; the rest is what it tells."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, missing: tuple[str, ...] = (), **told: Any) -> None:
        self.missing = missing
        self.told = {"clocks": {1: 1980, 2: 2619}, "celsius": 41, "milliwatts": 350_000, "slowed": 0, "millijoules": 0}
        self.told |= {"busy": 0, "used": 600 << 20, "pids": []} | told

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in self.missing:

            def refuse(*_args: Any) -> None:
                raise NVMLError("Not Supported")

            return refuse
        return super().__getattribute__(name)

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        if index > 0:
            raise NVMLError("Invalid Argument")
        return f"handle {index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return f"handle {uuid}"

    def nvmlDeviceGetClockInfo(self, _handle: str, clock: int) -> int:  # noqa: N802
        return self.told["clocks"][clock]

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:  # noqa: N802
        return self.told["celsius"]

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:  # noqa: N802
        return self.told["milliwatts"]

    def nvmlDeviceGetCurrentClocksEventReasons(self, _handle: str) -> int:  # noqa: N802
        return self.told["slowed"]

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: str) -> int:  # noqa: N802
        return self.told["millijoules"]

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self.told["busy"])

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(used=self.told["used"])

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=p) for p in self.told["pids"]]

    def nvmlDeviceGetName(self, _handle: str) -> str:  # noqa: N802
        return "NVIDIA Made Up"

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"


@pytest.fixture
def nvml() -> Callable[..., FakeNvml]:
    return FakeNvml
