import json

import pytest

from lib.trt import description
from lib.trt.profiles import plan

WHOLE = description.Description("10.6.0", "NVIDIA H100 80GB HBM3", "sm_90", plan([(1, 64)], 32, 0))


def test_it_is_read_as_it_was_written(tmp_path):
    description.write(tmp_path, WHOLE)
    assert description.read(tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "not of format 1"),
        ({"gpu_arch": ""}, "the GPU"),
        ({"tensorrt": None}, "TensorRT's version"),
        ({"profiles": [{"use": "decode"}]}, "its profiles cannot be read"),
    ],
)
def test_a_wrong_one(tmp_path, change, says):
    description.write(tmp_path, WHOLE)
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=says):
        description.read(tmp_path)


@pytest.mark.parametrize("text", [None, "[]", "{"])
def test_none_at_all(tmp_path, text):
    if text is not None:
        (tmp_path / "engine.json").write_text(text)
    with pytest.raises(ValueError, match=r"engine\.json"):
        description.read(tmp_path)


def test_an_engine_runs_on_its_own_version_and_architecture_only():
    WHOLE.check("10.6.0", "sm_90")
    with pytest.raises(ValueError, match=r"built by TensorRT 10\.6\.0; this is 10\.7\.0"):
        WHOLE.check("10.7.0", "sm_90")
    with pytest.raises(ValueError, match="built for sm_90; this GPU is sm_80"):
        WHOLE.check("10.6.0", "sm_80")
