import os
import subprocess
import sys

import numpy as np

from lib.speed import machine
from lib.speed.machine import Meter


def test_peak_is_counted_from_where_it_is_forgotten():
    machine.forget_peak()  # that of earlier tests
    before = machine.memory("VmHWM")
    held = np.ones(1 << 26, np.uint8)  # 64 MiB, which malloc gives back at once
    assert machine.memory("VmHWM") >= before + held.nbytes // 2
    del held
    high = machine.memory("VmHWM")
    assert machine.forget_peak()
    assert machine.memory("VmHWM") <= high - (1 << 25)
    assert machine.memory("VmRSS") <= machine.memory("VmHWM")


def test_others_are_all_but_this_process():
    a, b = Meter(at=10, busy=100, stolen=1, own=50), Meter(at=14, busy=107, stolen=3, own=52)
    assert machine.others(a, b) == {"others": 1.25, "stolen": 0.5}
    assert machine.others(a, Meter(12, 101, 1, 53))["others"] == 0  # ticks of 10 ms do not always add up


def test_own_work_is_not_others():
    """Half a second of sums: what is counted as others' may not hold it."""
    a = machine.read_meter()
    while machine.read_meter().own - a.own < 0.5:
        sum(range(10000))
    b = machine.read_meter()
    assert b.busy - a.busy >= 0.4  # the machine's count has it
    spent = machine.others(a, b)["others"] * (b.at - a.at)
    assert spent <= (b.busy - a.busy) - 0.4


def test_who_is_busy():
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        found, busy = machine.probe()
    finally:
        other.kill()
        other.wait()
    assert found["others"] > 0.1
    assert found["load_average_1m"] >= 0
    assert any(b.startswith("python") for b in busy)


def test_the_machine():
    told = machine.describe()
    assert told["cpu"]
    assert int(told["cpus"]) == len(os.sched_getaffinity(0))
    assert all(told.values())
