from pathlib import Path

import pytest

from lib.trt import limits
from lib.trt.inspect import Layer, read_layers
from lib.trt.network import Weights

NARROW = "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n"
WIDE = "sm80_xmma_gemm_f16f16_f16f32_f32_nn_n"
# 1000 INT4 weights and 100 floats in float16.
PACKED = Weights({"w": 1000}, expected=500 + 200, unpacked=1500)


def layer(tactic, kind="gemm"):
    return Layer(f"a {tactic}", kind, tactic, ((), ()), ())


def kinds(*args):
    return [limit.kind for limit in limits.find(*args)]


@pytest.mark.parametrize(
    ("weights", "size", "says"),
    [
        (PACKED, 700, []),
        (PACKED, 820, []),  # tables and padding
        (PACKED, 2200, ["about 100% of the integer weights are held as float16: 2200 bytes in place of 700"]),
        (PACKED, 1450, ["about 50% of the integer weights are held as float16: 1450 bytes in place of 700"]),
        (PACKED, 9999, ["about 100% of the integer weights are held as float16: 9999 bytes in place of 700"]),
        (Weights({}, 200, 0), 9999, []),
    ],
)
def test_integers_that_were_unpacked_show_in_the_size(weights, size, says):
    assert limits.unpacked(weights, size, "float16") == says


def test_the_weights_are_counted_as_the_library_says():
    assert limits.held(["[INFO] Total Weights Memory: 700 bytes", "[INFO] Total Activation Memory: 9 bytes"]) == 700
    assert limits.held([]) == 0
    assert limits.find([], [], PACKED, "float16") == []


def test_kernels_that_are_not_what_one_would_think():
    said = ("sm90_fused_mha_fwd", "gemm")
    assert kinds([], [layer(WIDE), layer(*said)], PACKED, "float16") == []
    (found,) = limits.find([], [layer(NARROW), layer(*said), layer(NARROW)], PACKED, "float16")
    assert (found.kind, found.what) == ("narrow", f"2 products are summed in float16, a {NARROW} among them")
    assert kinds([], [layer(WIDE)], PACKED, "float16") == ["unfused"]


def test_a_recorded_engine_sums_its_products_in_float16():
    layers = read_layers(Path(__file__).with_name("testdata").joinpath("joined.layers.json").read_text())
    (found,) = limits.find([], layers, PACKED, "float16")
    assert (found.kind, found.what) == ("narrow", "4 products are summed in float16, l0_qkv/MatMul_myl0_2 among them")


def test_what_was_said_is_told_once_each():
    lines = [
        "[INFO] Total Weights Memory: 2200 bytes",
        "[INFO] Detected 67 inputs",
        "[WARNING] x was cast",
        "[INFO] Falling back to a slower way",
        "[WARNING] x was cast",
        "[WARNING] ModelImporter.cpp:429: Make sure input rows has Int64 binding.",
        "[WARNING] A node named fn_k already exists, the output tensors of this new instance will not be queryable.",
        "[ERROR] no tactic",
    ]
    found = limits.find(lines, [], PACKED, "float16")
    assert [(limit.kind, limit.what) for limit in found[1:]] == [
        ("warning", "x was cast"),
        ("fallback", "Falling back to a slower way"),
        ("error", "no tactic"),
    ]
    assert limits.fallbacks(found) == 2  # that, and the weights
