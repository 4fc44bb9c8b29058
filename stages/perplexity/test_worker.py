import hashlib
import json
import math
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from lib.score.result import Scores

PARAMS = {"window": 64, "stride": 64, "max_tokens": 300, "dtype": "float32", "distributions": 40}
FILES = {"nll.safetensors", "distributions.safetensors", "protocol.json", "measured.json"}


@pytest.fixture
def space(workspace, tiny):
    def make(model=None, text=None, tokenizer=None, kind="model/hf", **params):
        made = workspace()
        made.request["params"] = PARAMS | params
        made.add_input("model", model or tiny / "model", kind)
        made.add_input("tokenizer", tokenizer or tiny / "tokenizer", "tokenizer/hf")
        made.add_input("text", text or tiny / "text", "dataset/text")
        made.request["outputs"] = {"result": "result/perplexity"}
        return made

    return make


@pytest.fixture
def bad_model(tiny, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(tiny / "model", folder)
    return folder


def reference(tiny, window, stride, limit):
    """Each position by itself: the logarithms of all probabilities given what its window holds before it."""
    model = AutoModelForCausalLM.from_pretrained(tiny / "model").eval()
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer" / "tokenizer.json"))
    ids = tokenizer.encode((tiny / "text" / "text.txt").read_text()).ids[:limit]
    scored = {}
    for begin in range(0, len(ids), stride):
        for position in range(begin + 1, min(begin + window, len(ids))):
            if position not in scored:
                with torch.no_grad():
                    logits = model(torch.tensor([ids[begin:position]])).logits[0, -1].double()
                scored[position] = torch.log_softmax(logits, 0).numpy()
        if begin + window >= len(ids):
            break
    return ids, {p: scored[p] for p in sorted(scored)}


@pytest.fixture(scope="module")
def tiny_decoder(graph_of, tiny):
    return graph_of(tiny / "model")


@pytest.mark.parametrize("engine", ["checkpoint", "graph", "decoder"])
@pytest.mark.parametrize(("window", "stride", "limit"), [(64, 64, 150), (64, 24, 150), (64, 64, 20), (64, 64, 129)])
def test_against_each_token_by_itself(space, tiny, tiny_graph, tiny_decoder, engine, window, stride, limit):
    models = {
        "checkpoint": {},
        "graph": {"model": tiny_graph, "kind": "model/onnx"},
        "decoder": {"model": tiny_decoder, "kind": "model/onnx-decoder"},
    }
    s = space(**models[engine], window=window, stride=stride, max_tokens=limit)
    done = s.run()
    assert done.code == 0, done.stderr
    ids, want = reference(tiny, window, stride, limit)
    nll = [-want[p][ids[p]] for p in want]
    got = load_file(s.out("result") / "nll.safetensors")
    assert {n: t.dtype for n, t in got.items()} == {"nll": np.float32, "position": np.int64, "top": np.int32}
    assert got["position"].tolist() == list(want)
    assert np.allclose(got["nll"], nll, atol=1e-4)
    assert got["top"].tolist() == [want[p].argmax() for p in want]
    assert done.metrics["tokens"] == len(want)
    assert math.isclose(done.metrics["perplexity"], math.exp(np.mean(nll)), rel_tol=1e-5)
    assert math.isclose(done.metrics["nll"], math.log(done.metrics["perplexity"]), rel_tol=1e-9)
    assert done.metrics["perplexity_low"] < done.metrics["perplexity"] < done.metrics["perplexity_high"]

    whole = load_file(s.out("result") / "distributions.safetensors")
    assert whole["position"].tolist() == sorted(set(whole["position"].tolist()) & set(want))
    assert len(whole["position"]) == min(40, len(want))
    assert whole["logprobs"].dtype == np.float16
    for position, logprobs in zip(whole["position"], whole["logprobs"], strict=True):
        assert np.allclose(logprobs, want[position], rtol=2**-10, atol=1e-4)


def test_distributions_lie_evenly_and_depend_on_the_text_only(space, tiny_graph):
    places = []
    for given in ({}, {"model": tiny_graph, "kind": "model/onnx"}):
        s = space(**given, distributions=59)
        assert s.run().code == 0
        places.append(load_file(s.out("result") / "distributions.safetensors")["position"].tolist())
    assert places[0] == places[1]
    steps = np.diff(places[0])
    assert len(steps) == 58
    assert set(steps.tolist()) <= {5, 6}  # 295 tokens were scored; a window's first was not


def test_slices_of_logits_do_not_show(tiny, monkeypatch):
    from perplexity import worker

    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32))
    targets = torch.arange(40)
    found = []
    for size in (1, 300 * 7, 1 << 24):
        monkeypatch.setattr(worker, "SLICE", size)
        empty = np.zeros(50, np.float32), np.arange(100, 150), np.zeros(50, np.int32)
        scores = Scores(*empty, kept=np.array([103, 111, 118, 149]), logprobs=np.zeros((4, 300), np.float16))
        worker.score_rows(scores, 10, logits, targets)
        found.append(scores)
    assert not found[0].nll[:10].any()
    assert found[0].nll[10:].all()
    assert not found[0].logprobs[0].any()  # 103 lies before these rows
    assert found[0].logprobs[1:].all()
    for other in found[1:]:
        assert (other.nll == found[0].nll).all()
        assert (other.top == found[0].top).all()
        assert (other.logprobs == found[0].logprobs).all()


def test_without_distributions(space):
    s = space(distributions=0)
    assert s.run().code == 0
    assert {p.name for p in s.out("result").iterdir()} == FILES - {"distributions.safetensors"}


def test_protocol_is_a_fingerprint(space, tmp_path, tiny):
    other = tmp_path / "other"
    shutil.copytree(tiny / "text", other)
    (other / "text.txt").write_text("other " * 500)
    labels = set()
    for s in (space(), space(stride=32), space(max_tokens=200), space(text=other)):
        done = s.run()
        assert done.code == 0, done.stderr
        text = (s.out("result") / "protocol.json").read_text()
        assert done.result["observed"]["protocol"] == text
        assert done.result["labels"]["protocol"] == hashlib.sha256(text.encode()).hexdigest()
        fields = json.loads(text)
        assert fields["dataset"] == s.request["inputs"]["text"]["digest"]
        assert fields["tokenizer"] == s.request["inputs"]["tokenizer"]["digest"]
        assert set(fields) == {"bos", "dataset", "max_tokens", "stride", "tokenizer", "window"}
        assert {p.name for p in s.out("result").iterdir()} == FILES
        labels.add(done.result["labels"]["protocol"])
    assert len(labels) == 4


def test_engine_and_type_are_no_part_of_the_protocol(space, tiny_graph):
    labels = set()
    for given, engine, dtype in (
        ({}, "transformers 5.17.0 cpu float32", "float32"),
        ({"dtype": "bfloat16"}, "transformers 5.17.0 cpu bfloat16", "bfloat16"),
        ({"model": tiny_graph, "kind": "model/onnx"}, "onnxruntime 1.32.0 cpu", "float32"),
    ):
        s = space(**given)
        done = s.run()
        assert done.code == 0, done.stderr
        assert done.result["observed"]["engine"] == engine
        model = s.request["inputs"]["model"]["digest"]
        measured = json.loads((s.out("result") / "measured.json").read_text())
        assert measured == {"dtype": dtype, "engine": engine, "model": model}
        labels.add(done.result["labels"]["protocol"])
    assert len(labels) == 1


def test_type_that_a_graph_has_not(space, tiny_graph):
    done = space(model=tiny_graph, kind="model/onnx", dtype="bfloat16").run()
    assert done.code == 10
    assert done.problem["param"] == "dtype"
    assert "float32" in done.problem["message"]


def test_window_beyond_what_the_model_takes(space):
    done = space(window=300, max_tokens=400).run()
    assert done.code == 10
    assert done.problem["param"] == "window"
    assert "256" in done.problem["message"]


def test_stride_beyond_window(space):
    done = space(stride=65).run()
    assert done.code == 10
    assert done.problem["param"] == "stride"


def test_header_of_two_to_the_63(space, bad_model):
    path = bad_model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 63) + path.read_bytes()[8:])
    refused(space(model=bad_model), "model", "model.safetensors is damaged")


def test_overlapping_tensors(space, bad_model):
    path = bad_model / "model.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
    header[names[1]]["shape"] = header[names[0]]["shape"]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    refused(space(model=bad_model), "model", "model.safetensors is damaged")


def test_truncated_weights(space, bad_model):
    path = bad_model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(space(model=bad_model), "model", "model.safetensors is damaged")


def test_missing_tensors(space, bad_model):
    config = json.loads((bad_model / "config.json").read_text())
    (bad_model / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused(space(model=bad_model), "model", "missing")


def test_no_config(space, bad_model):
    (bad_model / "config.json").write_text("{")
    refused(space(model=bad_model), "model", "config.json")


def test_tokenizer_of_another_model(space, bad_model, tmp_path, tiny):
    folder = tmp_path / "tokenizer"
    shutil.copytree(tiny / "tokenizer", folder)
    text = json.loads((folder / "tokenizer.json").read_text())
    vocab = text["model"]["vocab"]
    text["model"]["vocab"] = {t: i + 100000 if i > 2 else i for t, i in vocab.items()}
    (folder / "tokenizer.json").write_text(json.dumps(text))
    refused(space(tokenizer=folder), "tokenizer", "vocabulary")


def refused(space, port, says):
    done = space.run()
    assert done.code == 11, done.stderr
    assert done.problem["input"] == port
    assert says in done.problem["message"]


def test_nan_in_the_weights(space, bad_model):
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file

    tensors = load(bad_model / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, bad_model / "model.safetensors", metadata={"format": "pt"})
    done = space(model=bad_model).run()
    assert done.code == 1
    assert done.result is None
    assert "nll is NaN" in done.problem["message"]


def test_cancel(space):
    s = space(window=200, stride=1, max_tokens=9000)
    done = s.cancel_at(lambda events: any(e.get("what") == "scoring" and e["done"] for e in events))
    assert done.code == 143
    assert done.result is None
