"""What is given back of a GPU, with torch's allocator made up."""

import torch

from lib.gpu import memory


def test_what_libraries_keep_among_a_models_weights_is_given_back_first(monkeypatch):
    """torch gives a segment back only where nothing of it is used: one workspace keeps the memory of a whole model."""
    done = []
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: done.append("workspaces"), raising=False)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: done.append("wait"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("segments"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5, 9))
    memory.give_back(torch.device("cuda"))
    assert done == ["wait", "workspaces", "wait", "segments"]


def test_a_cpu_has_nothing_to_give_back():
    memory.give_back(torch.device("cpu"))
