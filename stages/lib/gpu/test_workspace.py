"""What the workspaces of GPU tests give to their workers."""

import pytest


@pytest.mark.parametrize(("meant", "gpu"), [(True, True), (True, False), (False, False)])
def test_all_workers_of_a_gpu_test_find_the_same_distributions(workspace, tmp_path, monkeypatch, meant, gpu):
    monkeypatch.setenv("PYTHONPATH", "/overlay")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    space = type(workspace("text"))(tmp_path / "here", "text", meant)
    space.gpu = gpu
    found = space.environment()
    assert (found["PYTHONPATH"].split(":")[2:] == ["/overlay"]) == meant
    assert found["CUDA_VISIBLE_DEVICES"] == ("3" if gpu else "")
