import os

import pytest

from lib.gpu.device import Device, Sample, open_device
from lib.gpu.energy import Joules, spent, total
from lib.gpu.figures import figures
from lib.gpu.granted import Granted, look_at
from lib.gpu.idle import PATIENCE, check_idle
from lib.gpu.meter import Meter, Reading, told
from lib.gpu.roofline import copy_bandwidth, share, step_bytes
from lib.gpu.watch import Watch, summary

ALL = (
    "nvmlDeviceGetPowerUsage", "nvmlDeviceGetClockInfo", "nvmlDeviceGetTemperature",
    "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetName",
    "nvmlSystemGetDriverVersion",
)  # fmt: skip


def test_a_sample_has_what_is_told(nvml):
    device = open_device("0", nvml(slowed=0x41, millijoules=2500))
    assert device.sample(7.0) == Sample(7.0, 1980, 2619, 41, 350.0, 0x41)
    assert device.joules() == 2.5
    assert device.describe() == {"name": "NVIDIA Made Up", "driver": "580.1"}  # the fake has no limits
    assert open_device("GPU-8f", nvml()).handle == "handle GPU-8f"


def test_what_a_gpu_does_not_tell_is_absent(nvml):
    device = open_device("0", nvml(missing=ALL))
    assert device.sample(7.0) == Sample(7.0, None, None, None, None, None)
    assert device.joules() is None
    assert device.describe() == {}
    found = check_idle(device)
    assert (found.used_percent, found.held_bytes, found.others, found.trouble) == (None, None, None, [])
    assert summary([device.sample(1)]) == {"samples": 1}


def test_no_such_gpu_is_none(nvml):
    assert open_device("1", nvml()) is None
    assert open_device("0", nvml(missing=("nvmlInit",))) is None


def test_summary_by_hand():
    samples = [
        Sample(0, 1000, 2600, 40, 100.0, 0),
        Sample(1, 2000, 2600, 50, 300.0, 0x4 | 0x1),  # power cap, and the idle bit, which is none of ours
        Sample(2, 1500, None, 45, None, 0x4),
        Sample(3, 1500, 2600, 45, 200.0, None),
    ]
    assert summary(samples) == {
        "samples": 4, "sm_mhz": 1500, "memory_mhz": 2600, "celsius": 50, "watts": 200.0, "slowed": {"power cap": 0.667},
    }  # fmt: skip
    assert summary(samples[:1])["slowed"] == {}
    assert summary([]) == {}


def test_the_watch_ends_with_its_block(nvml):
    device = open_device("0", nvml())
    with Watch(device, interval=0.001) as watch:
        while len(watch.between(0, float("inf"))) < 3:
            pass
    seen = watch.between(0, float("inf"))
    assert not watch._thread.is_alive()
    assert [s.at for s in seen] == sorted(s.at for s in seen)
    between = (seen[0].at + seen[1].at) / 2, (seen[0].at + 3 * seen[1].at) / 4
    assert watch.between(*between) == [seen[0]]  # nothing fell inside: the last one before
    assert watch.between(seen[1].at, seen[2].at) == seen[1:3]


def test_the_watch_ends_with_an_error_too(nvml):
    with pytest.raises(KeyError), Watch(open_device("0", nvml())) as watch:
        raise KeyError
    assert not watch._thread.is_alive()
    with Watch(None) as blind:
        pass
    assert blind.between(0, float("inf")) == []


def test_an_idle_gpu(nvml):
    found = check_idle(Device(nvml(pids=[os.getpid()]), "h"), sleep=pytest.fail)
    assert (found.used_percent, found.held_bytes, found.others) == (0, 600 << 20, 0)
    assert found.trouble == []


def test_a_gpu_that_becomes_idle(nvml):
    library = nvml(busy=80, pids=[1])
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            library.told |= {"busy": 0, "pids": []}

    found = check_idle(Device(library, "h"), sleep)
    assert found.trouble == []
    assert found.waited_seconds == sum(slept) == 1.5


def test_a_gpu_that_stays_busy(nvml):
    slept = []
    found = check_idle(Device(nvml(busy=80, pids=[1, 2], used=30_000_000_000), "h"), slept.append)
    assert found.trouble == ["it is 80 % busy", "2 other processes compute on it", "30.0 GB of its memory are held"]
    assert sum(slept) == PATIENCE


def test_energy():
    samples = [Sample(0, None, None, None, 100.0, None), Sample(1, None, None, None, 300.0, None)]
    assert spent(10.0, 14.5, 2, samples) == Joules(4.5, "counted")
    assert spent(None, None, 2, samples) == Joules(400.0, "estimated")
    assert spent(10.0, 10.0, 0.01, samples) == Joules(2.0, "estimated")  # the counter did not move
    assert spent(None, None, 2, [Sample(0, 1, 1, 1, None, 0)]) is None
    counted, guessed = Joules(4.5, "counted"), Joules(2.0, "estimated")
    assert total([counted, counted]) == Joules(9.0, "counted")
    assert total([counted, guessed]) == Joules(6.5, "estimated")
    assert total([counted, None]) is None
    assert total([]) is None


def test_roofline():
    moved = step_bytes(weights=1_000_000, cached_token=100, batch=8, held=250.0)
    assert moved == 1_200_000
    assert share(moved, seconds=0.001, bandwidth=3e9) == pytest.approx(0.4)


def test_no_bandwidth_of_a_cpu():
    import torch

    assert copy_bandwidth(torch.device("cpu")) is None


def test_a_meter_reads_around_a_run(nvml):
    library = nvml(millijoules=1000)
    device = open_device("0", library)

    def run():
        library.told["millijoules"] = 7500
        return "made"

    with Watch(device, interval=0.001) as watch:
        made, reading = Meter(device, watch).measure(run)
    assert made == "made"
    assert reading.joules == Joules(6.5, "counted")
    said = told([reading, reading])
    assert (said["joules"], said["joules_are"], said["sm_mhz"]) == (13.0, "counted", 1980)


def test_a_meter_without_a_gpu():
    with Watch(None) as watch:
        made, reading = Meter(None, watch).measure(lambda: 3)
    assert (made, reading, told([reading])) == (3, Reading(None, []), {})


def test_figures_by_hand():
    gpu = {
        "sm_mhz": 1980, "celsius": 51, "slowed": {"power cap": 0.1}, "joules": 300.0, "peak_bytes": 17,
        "bytes_per_step": 15e9, "copy_bytes_per_second": 3e12,
    }  # fmt: skip
    assert figures(gpu, tokens=600, step=0.01) == pytest.approx({
        "gpu_clock_mhz": 1980, "gpu_temperature_c": 51, "throttled": 1, "joules_per_token": 0.5, "gpu_peak_bytes": 17,
        "bytes_per_step": 15e9, "roofline_share": 0.5,
    })  # fmt: skip
    assert figures({"slowed": {}}, tokens=1, step=1) == {"throttled": 0}
    assert figures({}, tokens=1, step=1) == {}


def test_the_granted_gpu_is_looked_at(nvml, workspace, monkeypatch):
    space = workspace("benchmark")
    assert look_at(space.job(), nvml()) == Granted()  # none was granted
    space.request["resources"]["gpus"] = ["0"]
    monkeypatch.setattr("lib.gpu.idle.PATIENCE", 0)
    found = look_at(space.job(), nvml(used=3 << 30, missing=("nvmlDeviceGetUtilizationRates",)))
    assert found.told["device"]["name"] == "NVIDIA Made Up"
    assert found.told["idle"]["held_bytes"] == 3 << 30
    (warned,) = space.events()
    assert "not idle: 3.2 GB of its memory are held" in warned["message"]
    assert look_at(space.job(), nvml(missing=("nvmlInit",))) == Granted()
