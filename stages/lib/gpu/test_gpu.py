"""What a real GPU tells of itself: pytest -m gpu stages/lib/gpu."""

import time

import pytest
import torch

from lib.gpu import memory
from lib.gpu.device import open_device
from lib.gpu.meter import Meter, told
from lib.gpu.roofline import copy_bandwidth
from lib.gpu.watch import Watch

pytestmark = pytest.mark.gpu


def test_a_second_of_copying():
    place = torch.device("cuda")
    device = open_device("0")
    assert device.describe()["name"]

    def work():
        end = time.monotonic() + 1
        while time.monotonic() < end:
            copy_bandwidth(place, size=1 << 28, repeats=5)

    with Watch(device) as watch:
        _, reading = Meter(device, watch).measure(work)
    said = told([reading])
    assert said["samples"] >= 5
    assert said["joules"] > 10
    assert said["sm_mhz"] > 100
    assert said["celsius"] > 0


def test_what_is_allocated_is_not_free():
    place = torch.device("cuda")
    before = memory.free(place)
    held = torch.zeros(1 << 30, dtype=torch.uint8, device=place)
    assert memory.free(place) <= before - (1 << 30)
    del held
    assert memory.left(place) <= before - (1 << 30)  # torch keeps it for later
    assert memory.free(place) >= before - (1 << 26)
