"""What a GPU scores, by transformers and by an engine, against the CPU's float32."""

import json
import math

import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.gpu

PARAMS = {"window": 64, "stride": 64, "max_tokens": 300, "distributions": 40}


@pytest.fixture
def score(workspace, tiny):
    def run(model, kind, dtype, gpu=True):
        made = workspace("perplexity")
        made.gpu = gpu
        made.request["resources"] |= {} if gpu else {"gpus": []}
        made.request["params"] = PARAMS | {"dtype": dtype}
        made.add_input("model", model, kind)
        made.add_input("tokenizer", tiny / "tokenizer", "tokenizer/hf")
        made.add_input("text", tiny / "text", "dataset/text")
        made.request["outputs"] = {"result": "result/perplexity"}
        done = made.run()
        assert done.code == 0, done.stderr[-4000:]
        measured = json.loads((made.out("result") / "measured.json").read_text())
        return done.metrics["nll"], measured["engine"], load_file(made.out("result") / "nll.safetensors")["nll"]

    return run


def test_a_gpu_scores_as_the_cpu_does(score, tiny):
    want, engine, each = score(tiny / "model", "model/hf", "float32", gpu=False)
    assert " cpu " in engine
    nll, engine, found = score(tiny / "model", "model/hf", "float32")
    assert " cuda " in engine
    assert math.isclose(nll, want, rel_tol=1e-5)
    assert abs(found - each).max() < 1e-3


def test_an_engine_is_scored(score, workspace, tiny, graph_of):
    build = workspace("tensorrt")
    build.request["params"] = {
        "decode": [{"batch": 1, "length": 64}],
        "spans": False,
        "prefill": 64,
        "score": 64,
        "optimization": 3,
    }
    build.add_input("model", graph_of(tiny / "model", "float16"), "model/onnx-decoder")
    build.request["outputs"] = {"engine": "engine/tensorrt", "timing": "engine/timing", "report": "result/engine"}
    done = build.run()
    assert done.code == 0, done.stderr[-4000:]
    want, _, each = score(tiny / "model", "model/hf", "float32")
    nll, engine, found = score(build.out("engine"), "engine/tensorrt", "float16")
    assert engine.startswith("TensorRT ")
    assert math.isclose(nll, want, rel_tol=1e-3)
    assert abs(found - each).max() < 0.05
