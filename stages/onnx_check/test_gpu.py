"""The whole of it where engines are built: a checkpoint, its graph, its engine, and the check."""

import pytest

pytestmark = pytest.mark.gpu

SHAPES = [{"batch": 1, "length": 19, "steps": 4}, {"batch": 3, "length": 7, "steps": 3}]


def test_an_engine_gives_the_logits_of_its_checkpoint(workspace, tiny, graph_of):
    build = workspace("tensorrt")
    batches = [{"batch": batch, "length": 64} for batch in (1, 3)]
    build.request["params"] = {"decode": batches, "prefill": 32, "score": 32, "optimization": 3}
    build.request["resources"]["cpus"] = 4
    build.add_input("model", graph_of(tiny / "model", "float16"), "model/onnx-decoder")
    build.request["outputs"] = {"engine": "engine/tensorrt", "timing": "engine/timing", "report": "result/engine"}
    done = build.run()
    assert done.code == 0, done.stderr[-4000:]

    for asked in ("all", "last"):
        check = workspace("onnx_check")
        check.request["params"] = {
            "shapes": SHAPES,
            "seed": 0,
            "reference_dtype": "float32",
            "prefill_logits": asked,
        }
        check.add_input("model", build.out("engine"), "engine/tensorrt")
        check.add_input("reference", tiny / "model", "model/hf")
        check.request["outputs"] = {"result": "result/check"}
        done = check.run()
        assert done.code == 0, done.stderr[-4000:]
        assert 0 < done.metrics["relative_difference"] < 0.02
        assert done.metrics["same_top5"] == 1
        assert done.result["observed"]["engine_model"].startswith("TensorRT ")
        assert done.result["observed"]["engine_reference"].endswith("cuda float32")
