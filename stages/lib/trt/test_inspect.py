import json
from pathlib import Path

import pytest

from lib.trt import inspect


def tensor(kind):
    return {"Name": "t", "Location": "Device", "Dimensions": [8, 1, 4096], "Format/Datatype": kind}


# As TensorRT 10.6's inspector words it.
SAID = json.dumps(
    {
        "Layers": [
            {
                "Name": "layers.0.q_myl0_7",
                "LayerType": "gemm",
                "Inputs": [tensor("Half"), tensor("Half")],
                "Outputs": [tensor("Half")],
                "TacticName": "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesize32x32x64_stage6_warpsize2x2x1_x",
                "StreamId": 0,
                "Metadata": "[ONNX Layer: layers.0.q]\u001e[ONNX Layer: layers.0.k]",
            },
            {
                "Name": "__myl_MulAddSoft_myl0_8",
                "LayerType": "kgen",
                "Inputs": [tensor("Half"), tensor("Float")],
                "Outputs": [tensor("Half")],
                "TacticName": "__myl_MulAddSoft_0xf2",
                "Metadata": "[ONNX Layer: layers.0.attention]",
            },
            {"Name": "Reformat | 1", "LayerType": "Reformat", "TacticValue": "0x00000000000003e8", "Metadata": ""},
        ],
        "Bindings": ["input_ids", "logits"],
    }
)
TIMES = {"layers.0.q_myl0_7": 60.0, "__myl_MulAddSoft_myl0_8": 30.0, "Reformat | 1": 8.0, "unknown": 2.0}


def test_layers_are_read():
    product, attention, reformat = inspect.read_layers(SAID)
    assert (product.kind, product.formats, product.nodes) == (
        "gemm",
        (("Half", "Half"), ("Half",)),
        ("layers.0.q", "layers.0.k"),
    )
    assert [layer.family for layer in (product, attention, reformat)] == ["product", "attention", "rest"]
    assert reformat.tactic == "0x00000000000003e8"


def test_layers_of_one_profile():
    own = inspect.select(SAID, {"Reformat | 1", "not there"})
    assert [layer.name for layer in inspect.read_layers(own)] == ["Reformat | 1"]
    assert json.loads(own)["Bindings"] == ["input_ids", "logits"]
    assert inspect.select(SAID, {}) == SAID
    assert inspect.select('{"Layers": ["a + b"]}', {"a + b": 1.0}) == '{"Layers": ["a + b"]}'
    assert inspect.select("", {"a": 1.0}) == ""


def test_an_engine_without_details_has_names_only():
    (layer,) = inspect.read_layers('{"Layers": ["a + b"], "Bindings": []}')
    assert (layer.name, layer.kind, layer.tactic) == ("a + b", "", "")


@pytest.mark.parametrize("text", ["[]", "{}", "nothing"])
def test_what_is_no_layers(text):
    with pytest.raises(ValueError):
        inspect.read_layers(text)


def test_tactics_are_compared():
    before = inspect.tactics(inspect.read_layers(SAID))
    assert len(before) == 3
    assert inspect.changed(before, dict(before)) == 0
    assert inspect.changed(before, before | {"Reformat | 1": "0x1", "new": "0x2"}) == 2
    assert inspect.changed(before, {}) == 3


def test_what_takes_the_time():
    layers = inspect.read_layers(SAID)
    assert inspect.shares(layers, TIMES) == pytest.approx({"product": 0.6, "attention": 0.3, "rest": 0.1})
    text = inspect.markdown("decode: batch 8", layers, TIMES)
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert "100 µs when each is timed alone: product 60%, attention 30%, rest 10%." in text
    assert rows[0].startswith("| 60.0 | layers.0.q_myl0_7 | gemm | sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesiz")
    assert rows[0].endswith("| Half → Half |")
    assert "Half, Float → Half" in rows[1]
    assert "Reformat \\| 1" in rows[2]
    assert rows[3].startswith("| 2.0 | unknown |  |")


RECORDED = Path(__file__).with_name("testdata")  # of TensorRT 10.6 on an H100: one layer of Llama-3-8B's shape, batch 8


def test_a_recorded_engine():
    layers = inspect.read_layers((RECORDED / "joined.layers.json").read_text())
    times = json.loads((RECORDED / "joined.profile.json").read_text())
    assert set(times) <= {layer.name for layer in layers}
    families = {layer.name: layer.family for layer in layers}
    assert {name for name, family in families.items() if family == "product"} == {
        "l0_qkv/MatMul_myl0_2",
        "l0_o/MatMul_myl0_11",
        "l0_gu/MatMul_myl0_13",
        "l0_d/MatMul_myl0_15",
    }
    assert families["_gemm_mha_v2_myl0_9"] == families["__myl_ConTraRes_myl0_7"] == "attention"
    (qkv,) = [layer for layer in layers if layer.name == "l0_qkv/MatMul_myl0_2"]
    assert qkv.nodes == ("l0.qkv/MatMul",)
    assert qkv.formats == (("Half", "Half", "Float", "Float"), ("Half",))
    assert inspect.shares(layers, times)["product"] == pytest.approx(0.6, abs=0.1)


def test_names_tell_the_family_where_the_inspector_fails():
    assert inspect.read_layers("") == []
    times = json.loads((RECORDED / "two.profile.json").read_text())
    assert inspect.shares([], times) == pytest.approx({"product": 0.82, "attention": 0.04, "rest": 0.14}, abs=0.02)
    text = inspect.markdown("t", [], times)
    assert "| logits/MatMul_myl0_97 |\n" in text
    assert "when each is timed alone.\n\n| µs | layer |\n|---|---|\n" in text  # no parts of what is not known


def test_only_the_first_ones_are_shown():
    text = inspect.markdown("t", [], {str(n): float(n) for n in range(30)})
    assert len([line for line in text.splitlines() if line.startswith("|")]) == inspect.TOP + 2
    assert "| 29.0 | 29 |" in text
    assert inspect.shares([], {}) == {"product": 0.0, "attention": 0.0, "rest": 0.0}
