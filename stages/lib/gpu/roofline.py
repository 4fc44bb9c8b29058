"""How near a decode step comes to what memory allows: bytes that it must move, by the bandwidth of a plain copy.

One step reads every weight but the embedding, of which it gathers a row, and the keys and values of all tokens before.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COPIED = 4 << 30  # bytes: far more than any cache holds
REPEATS = 20
ITEM = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a number


def copy_bandwidth(device: torch.device, size: int = COPIED, repeats: int = REPEATS) -> float | None:
    """Bytes a second that a copy on the GPU reads and writes, both counted; None on a CPU.

    A quarter is copied where less than twice the size is free. The memory is given back.
    """
    import torch

    if device.type != "cuda":
        return None
    if torch.cuda.mem_get_info(device)[0] < 2 * size:
        size //= 4
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    target.copy_(source)  # the first one sets up
    events[0].record()
    for event in events[1:]:
        target.copy_(source)
        event.record()
    torch.cuda.synchronize(device)
    seconds = [a.elapsed_time(b) / 1000 for a, b in pairwise(events)]
    del source, target
    torch.cuda.empty_cache()
    return 2 * size / median(seconds)


def step_bytes(weights: int, cached_token: int, batch: int, held: float) -> float:
    """Bytes of a step: the weights, and of `batch` rows the `held` tokens before it, `cached_token` bytes each."""
    return weights + batch * held * cached_token


def share(moved: float, seconds: float, bandwidth: float) -> float:
    """The part of the bandwidth that a step of so many seconds makes use of; 1 is the roofline."""
    return moved / seconds / bandwidth
