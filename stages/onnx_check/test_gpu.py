"""The whole of it where engines are built: a checkpoint, its graph, its engine, and the check."""

import pytest

pytestmark = pytest.mark.gpu

SHAPES = [{"batch": 1, "length": 19, "steps": 4}, {"batch": 3, "length": 7, "steps": 3}]


@pytest.mark.parametrize("asked", ["all", "last"])
def test_an_engine_gives_the_logits_of_its_checkpoint(workspace, tiny, tiny_engine, asked):
    check = workspace("onnx_check")
    check.request["params"] = {
        "shapes": SHAPES,
        "seed": 0,
        "reference_dtype": "float32",
        "prefill_logits": asked,
    }
    check.add_input("model", tiny_engine, "engine/tensorrt")
    check.add_input("reference", tiny / "model", "model/hf")
    check.request["outputs"] = {"result": "result/check"}
    done = check.run()
    assert done.code == 0, done.said
    assert 0 < done.metrics["relative_difference"] < 0.02, done.metrics
    assert done.metrics["same_top5"] == 1, done.metrics
    assert done.result["observed"]["engine_model"].startswith("TensorRT ")
    assert done.result["observed"]["engine_reference"].endswith("cuda float32")
