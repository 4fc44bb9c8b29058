"""Memory of a GPU, as all of its libraries hold it: torch's own count knows only what torch allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def free(device: torch.device) -> int | None:
    """Bytes that nobody holds, once what torch keeps for later is given back; None on a CPU."""
    import torch

    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def left(device: torch.device) -> int | None:
    """Bytes that nobody holds, with torch holding what it held at its peak; None on a CPU."""
    import torch

    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    return torch.cuda.mem_get_info(device)[0]
