from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from lib.score.result import Result, Scores, read_result, write_result
from tinfra_worker import BadInput

SCORES = Scores(
    nll=np.float32([1, 2, 3]),
    position=np.arange(1, 4),
    top=np.int32([7, 8, 9]),
    kept=np.int64([1, 3]),
    logprobs=np.float16([[-1, -2], [-3, -4]]),
)


@pytest.fixture
def folder(tmp_path):
    write_result(tmp_path, Result(SCORES, {"window": 4}, {"engine": "e"}))
    return tmp_path


def read(folder):
    return read_result(SimpleNamespace(input=lambda port: folder), "baseline")


def refused(folder, says):
    with pytest.raises(BadInput, match=says) as e:
        read(folder)
    assert e.value.port == "baseline"


def test_there_and_back(folder):
    found = read(folder)
    assert (found.protocol, found.measured) == ({"window": 4}, {"engine": "e"})
    for name, tensor in vars(SCORES).items():
        got = getattr(found.scores, name)
        assert got.dtype == tensor.dtype
        assert got.tolist() == tensor.tolist()


def test_no_distributions(folder):
    (folder / "distributions.safetensors").unlink()
    refused(folder, "holds no distributions")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("protocol.json", "{", "protocol.json"),
        ("protocol.json", "[]", "protocol.json"),
        ("protocol.json", "{}", "window"),
        ("measured.json", None, "measured.json"),
        ("nll.safetensors", "short", "nll.safetensors is damaged"),
        ("nll.safetensors", None, "nll.safetensors is damaged"),
        ("distributions.safetensors", "short", "distributions.safetensors is damaged"),
    ],
)
def test_damaged(folder, file, content, says):
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    refused(folder, says)


@pytest.mark.parametrize(
    ("file", "tensors"),
    [
        ("nll.safetensors", {"nll": np.zeros(3, np.float32), "position": np.arange(3)}),
        ("nll.safetensors", {"nll": np.zeros(3), "position": np.arange(3), "top": np.zeros(3, np.int32)}),
        ("nll.safetensors", {"nll": np.zeros(3, np.float32), "position": np.arange(4), "top": np.zeros(3, np.int32)}),
        ("distributions.safetensors", {"logprobs": np.zeros((2, 5), np.float32), "position": np.arange(1, 3)}),
        ("distributions.safetensors", {"logprobs": np.zeros((2, 5), np.float16), "position": np.arange(1, 4)}),
        ("distributions.safetensors", {"logprobs": np.zeros((1, 5), np.float16), "position": np.arange(9999, 10000)}),
        ("distributions.safetensors", {"position": np.arange(1, 3)}),
    ],
)
def test_tensors_of_another_shape(folder, file, tensors):
    save_file(tensors, folder / file)
    refused(folder, file)
