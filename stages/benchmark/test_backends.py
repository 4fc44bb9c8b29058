"""The backends of lib/llm/decoder.py, by a decoder that is told what to answer."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.asked import Asked, read_model, read_params
from benchmark.decoded import Decoded
from benchmark.generate import read_in_a_step
from lib.llm.decoder import Made, Unfit
from lib.speed.subject import read_subject
from tinfra_worker import BadInput, BadParam

ASKED = Asked(
    batch=2, prompt=5, tokens=3, warmup=0, repeats=1, seed=3, threads=1, device="cpu", dtype="float32", backend="steady"
)


class Told:
    """Logits that like token 7 best, steps of known times."""

    vocabulary, dtype, engine, device, weight_bytes = 300, "float32", "told 1.0", torch.device("cpu"), 1234

    def __init__(self):
        self.opened = None

    def open(self, batch, length):
        if batch > 2:
            raise Unfit("2 rows at most")
        self.opened = (batch, length)

    def feed(self, ids, rows):
        assert rows.tolist() == [4]
        logits = torch.zeros(len(ids), 1, 300)
        logits[:, :, 7] = 1
        return logits

    def generate(self, ids, tokens, bar):
        assert bar.tolist() == [1]
        return Made(torch.full((len(ids), tokens), 7), 0.5, [0.1] * (tokens - 1))

    def rewind(self, length=0):
        pass


@pytest.fixture
def job(workspace, tiny):
    def make(folder=None, **params):
        space = workspace("benchmark")
        space.request["params"] = vars(ASKED) | params
        space.add_input("model", folder or tiny / "model", "model/hf")
        return space.job()

    return make


@pytest.fixture
def engine_folder(tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "engine.plan").write_bytes(b"plan")
    told = {"vocabulary": 300, "context": 256, "layers": 2, "kv_heads": 1, "head_dim": 16, "dtype": "float16"}
    (folder / "decoder.json").write_text(json.dumps(told | {"ends": [1, 5], "weights": "int4"}))
    return folder


def test_a_decoder_is_an_engine(job, monkeypatch):
    told, given = Told(), job()
    monkeypatch.setattr(
        "benchmark.decoded.open_decoder", lambda *asked: told if asked[1:] == ("steady", "float32") else None
    )
    engine = Decoded(given, ASKED, read_model(given, ASKED))
    engine.load()
    assert (engine.name, engine.weight_bytes, engine.ends) == ("told 1.0", 1234, {1})
    ids = np.zeros((2, 5), np.int64)
    assert engine.first_logits(ids).argmax(1).tolist() == [7, 7]
    assert told.opened == (2, 8)
    run = engine.run(ids, 3)
    assert (run.first, run.steps, run.tokens) == (0.5, [0.1, 0.1], [[7, 7]] * 3)
    with pytest.raises(BadParam, match="2 rows at most") as found:
        engine.first_logits(np.zeros((3, 5), np.int64))
    assert found.value.param == "batch"


@pytest.mark.parametrize(
    ("raised", "fault"),
    [
        (Unfit("no such layer"), BadInput),
        (ValueError("damaged"), BadInput),
        (ImportError("x", name="humming"), BadParam),
    ],
)
def test_a_decoder_that_cannot_be_had(job, monkeypatch, raised, fault):
    def refuse(*_):
        raise raised

    monkeypatch.setattr("benchmark.decoded.open_decoder", refuse)
    given = job()
    with pytest.raises(fault, match="humming" if fault is BadParam else str(raised)):
        Decoded(given, ASKED, read_model(given, ASKED)).load()


def test_what_an_engine_says_of_itself(job, engine_folder):
    given = job(engine_folder)
    subject = read_subject(given, "model")
    assert (subject.form, subject.vocabulary, subject.ends, subject.cached) == ("engine", 300, {1, 5}, 64)
    model = read_model(given, Asked(**(vars(ASKED) | {"device": "gpu", "backend": "auto"})))
    assert (model.backend, model.dtype, model.approximate) == ("tensorrt", "float16", True)
    (engine_folder / "decoder.json").write_text("{}")
    with pytest.raises(BadInput, match="does not say what it computes"):
        read_subject(given, "model")


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"backend": "generate", "device": "gpu"}, "backend"),
        ({"backend": "auto"}, "device"),
        ({"backend": "auto", "device": "gpu", "dtype": "bfloat16"}, "dtype"),
        ({"backend": "auto", "device": "gpu", "prompt": 254}, "prompt"),
    ],
)
def test_what_an_engine_cannot_be_asked(job, engine_folder, changed, param):
    given = job(engine_folder)
    with pytest.raises(BadParam) as found:
        read_model(given, Asked(**(vars(ASKED) | changed)))
    assert found.value.param == param


def test_a_checkpoint_is_not_for_every_backend(job):
    given = job(backend="tensorrt")
    with pytest.raises(BadParam, match="generate or generate_static or steady or humming does"):
        read_model(given, read_params(given))


def test_cache_of_a_checkpoint(job):
    assert read_subject(job(), "model").cached == 2 * 2 * 1 * 16  # keys and values × layers × heads × size


def test_weights_of_a_step():
    def model(tied):
        embedding = torch.nn.Embedding(10, 4)
        head = torch.nn.Linear(4, 10, bias=False)
        head.weight = embedding.weight if tied else head.weight
        return SimpleNamespace(
            get_input_embeddings=lambda: embedding,
            get_output_embeddings=lambda: head,
            parameters=lambda: iter({embedding.weight, head.weight, torch.nn.Parameter(torch.zeros(3))}),
            buffers=lambda: iter([torch.zeros(2)]),
        )

    assert read_in_a_step(model(tied=False)) == 4 * (40 + 3 + 2)
    assert read_in_a_step(model(tied=True)) == 4 * (40 + 3 + 2)
