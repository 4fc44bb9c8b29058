"""The machine during a benchmark: what it is, what else it did, how much memory this process held.

It reads Linux' /proc and /sys, and knows no engine and no model. What cannot be read is left out, never guessed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tinfra_worker import Job

TICK = os.sysconf("SC_CLK_TCK")  # of /proc's processor times, per second
PROBE = 1.0  # seconds of looking before anything is loaded
QUIET = 0.1  # cores that others may use before it is worth a warning
FEATURES = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def describe() -> dict[str, str]:
    """Processor, its count, the instructions that kernels choose by, clock and governor."""
    said: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    out = {
        "cpu": said.get("model name", os.uname().machine),
        "cpus": str(len(os.sched_getaffinity(0))),
        "kernel": os.uname().release,
        "features": " ".join(f for f in FEATURES if f in said.get("flags", "").split()),
        "mhz": said.get("cpu MHz", ""),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
    }
    return {k: v for k, v in out.items() if v}


@dataclass(frozen=True)
class Meter:
    """Processor seconds up to a moment: of everyone, stolen by the machine's host, of this process."""

    at: float
    busy: float
    stolen: float
    own: float


def read_meter() -> Meter:
    """Now. Where /proc/stat is not readable all of it counts as our own."""
    own = sum(os.times()[:4])
    fields = _read("/proc/stat").partition("\n")[0].split()[1:]
    if len(fields) < 8:
        return Meter(time.monotonic(), own, 0, own)
    user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(f) / TICK for f in fields[:8])
    return Meter(time.monotonic(), user + nice + system + irq + softirq, stolen, own)


def others(a: Meter, b: Meter) -> dict[str, float]:
    """Cores that others used, and that the host withheld, on average between two moments."""
    seconds = max(b.at - a.at, 1e-9)
    used = (b.busy - a.busy) - (b.own - a.own)
    return {"others": round(max(used, 0) / seconds, 3), "stolen": round((b.stolen - a.stolen) / seconds, 3)}


def probe() -> tuple[dict[str, float], list[str]]:
    """Look for PROBE seconds at what others do: cores, load averages, and who they are ("name 0.97")."""
    before, meter = _processes(), read_meter()
    time.sleep(PROBE)
    found = others(meter, read_meter())
    busy = []
    for pid, (name, spent) in _processes().items():
        cores = (spent - before.get(pid, (name, spent))[1]) / PROBE
        if cores >= QUIET / 2 and pid != os.getpid():
            busy.append((cores, name))
    one, five, _ = os.getloadavg()
    load = found | {"load_average_1m": round(one, 2), "load_average_5m": round(five, 2)}
    return load, [f"{name} {cores:.2f}" for cores, name in sorted(busy, reverse=True)[:5]]


def look_around(job: Job) -> dict[str, float]:
    """What the machine did before anything began, with a warning where it was not idle."""
    found, busy = probe()
    if found["others"] > QUIET:
        who = f": {', '.join(busy)}" if busy else ""
        job.log(f"the machine is not idle: others use {found['others']} cores{who}; the figures will suffer", "warning")
    return found


def _processes() -> dict[int, tuple[str, float]]:
    """Name and processor seconds of every process that can be seen."""
    out = {}
    for folder in Path("/proc").glob("[0-9]*"):
        head, _, tail = _read(folder / "stat").rpartition(")")
        fields = tail.split()
        if len(fields) > 12:
            out[int(folder.name)] = (head.partition("(")[2], (int(fields[11]) + int(fields[12])) / TICK)
    return out


def forget_peak() -> bool:
    """Let the kernel count this process's peak anew from here (proc(5), clear_refs, 5); whether it did."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def memory(name: str) -> int:
    """A line of /proc/self/status in bytes: VmHWM, the peak of what is resident, or VmRSS, what is now."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
