import pytest

from lib.trt import tactics
from lib.trt.profiles import encode, plan
from lib.trt.tactics import Choice

OF = {"graph": "sha256:1", "profiles": encode(plan([(1, 64)], 8, 0)), "optimization": 3}


def test_choices_of_the_same_engine_are_compared(tmp_path):
    tactics.write(tmp_path, Choice(OF, {"a": "gemm_1", "b": "0x1", "c": "k"}))
    before = tactics.read(tmp_path)
    assert tactics.compare(before, Choice(OF, {"c": "k", "b": "0x1", "a": "gemm_1"})) == 0
    assert tactics.compare(before, Choice(OF, {"a": "gemm_2", "b": "0x1", "d": "k"})) == 3


@pytest.mark.parametrize("other", [{"graph": "sha256:2"}, {"optimization": 4}, {"profiles": []}])
def test_those_of_another_are_not(other):
    assert tactics.compare(Choice(OF, {"a": "x"}), Choice(OF | other, {"a": "y"})) is None


def test_what_the_inspector_failed_at_is_not_the_same():
    assert tactics.compare(Choice(OF, {}), Choice(OF, {})) is None
    assert tactics.compare(Choice(OF, {"a": "x"}), Choice(OF, {})) is None


@pytest.mark.parametrize("text", [None, "{", "[]", '{"of": 1, "tactics": {}}', '{"of": {}}'])
def test_a_damaged_file(tmp_path, text):
    if text is not None:
        (tmp_path / "tactics.json").write_text(text)
    with pytest.raises(ValueError, match=r"tactics\.json cannot be read"):
        tactics.read(tmp_path)
