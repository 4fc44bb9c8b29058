"""A GPU's clocks, heat and power while something runs on it."""

from __future__ import annotations

import threading
from statistics import fmean, median
from time import perf_counter
from types import TracebackType
from typing import Any

from lib.gpu.device import SLOWED, Device, Sample

INTERVAL = 0.1  # seconds between two samples


class Watch:
    """Samples a device in a thread of its own, from `with` to its end. Without a device it sees nothing."""

    def __init__(self, device: Device | None, interval: float = INTERVAL) -> None:
        self._device, self._interval = device, interval
        self._samples: list[Sample] = []  # appended by the thread only
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="watch of the GPU", daemon=True)

    def __enter__(self) -> Watch:
        if self._device is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._device is not None:
            self._thread.join()

    def between(self, start: float, end: float) -> list[Sample]:
        """Samples of a time, both ends in seconds of perf_counter.

        A time shorter than the interval may hold none: then the last one before it stands for it.
        """
        seen = list(self._samples)
        inside = [s for s in seen if start <= s.at <= end]
        return inside or [s for s in seen if s.at < start][-1:]

    def _sample(self) -> None:
        assert self._device is not None  # noqa: S101  started with one only
        while True:
            self._samples.append(self._device.sample(perf_counter()))
            if self._stop.wait(self._interval):
                return


def summary(samples: list[Sample]) -> dict[str, Any]:
    """Median clocks, greatest heat, mean power, and what slowed the clocks in which part of the samples.

    What was not told is left out; `slowed` is there, empty, when it was told that nothing did.
    """
    if not samples:
        return {}
    out: dict[str, Any] = {"samples": len(samples)}
    for name, of in (("sm_mhz", median), ("memory_mhz", median), ("celsius", max), ("watts", fmean)):
        told = [v for s in samples if (v := getattr(s, name)) is not None]
        if told:
            out[name] = of(told)
    bits = [s.slowed for s in samples if s.slowed is not None]
    if bits:
        shares = {reason: sum(bool(b & bit) for b in bits) / len(bits) for bit, reason in SLOWED.items()}
        out["slowed"] = {reason: round(share, 3) for reason, share in shares.items() if share}
    return out
