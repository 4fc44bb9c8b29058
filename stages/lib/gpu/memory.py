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


def give_back(device: torch.device) -> None:
    """Give back all that nobody uses, the workspaces of torch's matrix products too; they are made anew when needed.

    torch keeps a segment of memory as long as anything in it is used. It places such a workspace where it finds room,
    among a model's weights, whose segments outlive the model then. No captured graph may be run behind this.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        # torch offers this to nobody by a public name. Without it memory is told as unknown, no more.
        getattr(torch._C, "_cuda_clearCublasWorkspaces", bool)()
    free(device)


def left(device: torch.device) -> int | None:
    """Bytes that nobody holds, with torch holding what it held at its peak; None on a CPU."""
    import torch

    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    return torch.cuda.mem_get_info(device)[0]
