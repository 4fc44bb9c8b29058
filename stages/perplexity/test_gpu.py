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
        assert done.code == 0, done.said
        measured = json.loads((made.out("result") / "measured.json").read_text())
        return done.metrics["nll"], measured["engine"], load_file(made.out("result") / "nll.safetensors")["nll"]

    return run


def test_a_gpu_scores_as_the_cpu_does(score, tiny):
    want, engine, each = score(tiny / "model", "model/hf", "float32", gpu=False)
    assert " cpu " in engine
    nll, engine, found = score(tiny / "model", "model/hf", "float32")
    assert " cuda " in engine
    assert math.isclose(nll, want, rel_tol=1e-5), (nll, want)
    assert abs(found - each).max() < 1e-3


def test_an_engine_is_scored(score, tiny, tiny_engine):
    want, _, each = score(tiny / "model", "model/hf", "float32")
    nll, engine, found = score(tiny_engine, "engine/tensorrt", "float16")
    assert engine.startswith("TensorRT ")
    assert math.isclose(nll, want, rel_tol=1e-3), (nll, want)
    assert abs(found - each).max() < 0.05, (found - each).tolist()
