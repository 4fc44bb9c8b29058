import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmark.asked import Asked, read_model
from benchmark.engine import make_engine
from benchmark.prompt import describe, make_prompt
from tinfra_worker import BadInput, Job, event, request

ASKED = Asked(
    batch=4, prompt=9, tokens=20, warmup=0, repeats=1, seed=3, threads=1, device="cpu", dtype="float32", backend="auto"
)


@pytest.fixture
def job(workspace):
    def make(folder, **inputs):
        space = workspace()
        for port, given in {"model": folder, **inputs}.items():
            space.add_input(port, given, "files")
        return Job(space.root, request.decode(json.dumps(space.request)), event.Writer(space.root / "events.jsonl"))

    return make


def load(job, asked=ASKED):
    model = read_model(job, asked)
    engine = make_engine(job, asked, model)
    engine.load()
    return engine, make_prompt(job, asked, model)


def tokens_of(job, asked=ASKED):
    engine, prompt = load(job, asked)
    return engine.run(prompt, asked.tokens).tokens


def changed(folder: Path, to: Path, files: dict[str, dict]) -> Path:
    """A copy of a model's folder with fields of its JSON files replaced."""
    shutil.copytree(folder, to)
    for name, fields in files.items():
        part, _, key = name.partition("#")
        if (path := to / part).exists():
            config = json.loads(path.read_text())
            (config[key] if key else config).update(fields)
            path.write_text(json.dumps(config))
    return to


@pytest.fixture(params=["checkpoint", "graph"])
def folder(request, tiny, graph):
    return graph() if request.param == "graph" else tiny / "model"


def test_tokens_are_those_of_whole_passes(job, folder, tiny):
    made = np.array(tokens_of(job(folder))).T
    model = AutoModelForCausalLM.from_pretrained(tiny / "model").eval()
    ids = np.random.Generator(np.random.PCG64(3)).integers(0, 300, (4, 9), dtype=np.int64)
    for row, got in zip(ids.tolist(), made.tolist(), strict=True):
        for _ in range(20):
            with torch.no_grad():
                logits = model(torch.tensor([row]), use_cache=False).logits[0, -1]
            logits[1] = -torch.inf  # the tiny model's end of text
            row.append(int(logits.argmax()))
        assert got == row[9:]


def test_an_end_of_text_ends_nothing(job, folder, tmp_path):
    before = tokens_of(job(folder))
    ends = {"eos_token_id": [1, before[2][0]]}
    after = tokens_of(
        job(changed(folder, tmp_path / "m", {"generation_config.json": ends, "genai_config.json#model": ends}))
    )
    assert [row[0] for row in after[:2]] == [row[0] for row in before[:2]]
    assert len(after) == len(before) == 20
    assert not {t for row in after for t in row}.intersection(ends["eos_token_id"])


def test_sampling_that_a_folder_asks_for_is_set_aside(job, folder, tmp_path):
    sampling = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 3.0, "top_k": 3}
    asks = changed(folder, tmp_path / "m", {"generation_config.json": sampling, "genai_config.json#search": sampling})
    assert tokens_of(job(asks)) == tokens_of(job(folder))


def test_no_end_of_text_at_all(job, tiny, tmp_path):
    none = {"eos_token_id": None}
    bare = changed(tiny / "model", tmp_path / "m", {"generation_config.json": none, "config.json": none})
    engine, prompt = load(job(bare))
    assert engine.ends == frozenset()
    assert len(engine.run(prompt, 20).tokens) == 20


def test_threads_of_the_graphs_engine(job, graph):
    """One thread is the caller's own; each more is one that the kernel knows."""
    counts = []
    for threads in (1, 3):
        asked = Asked(**(vars(ASKED) | {"threads": threads}))
        before = len(list(Path("/proc/self/task").iterdir()))
        engine, _ = load(job(graph()), asked)
        counts.append(len(list(Path("/proc/self/task").iterdir())) - before)
        del engine
    assert counts[1] - counts[0] == 2


def test_threads_of_the_checkpoints_engine(job, tiny):
    for threads in (3, 1):
        load(job(tiny / "model"), Asked(**(vars(ASKED) | {"threads": threads})))
        assert torch.get_num_threads() == threads


def test_broken_graph(job, graph, tmp_path):
    for name in ("model.onnx", "genai_config.json"):
        bad = changed(graph(), tmp_path / name, {})
        if name == "model.onnx":
            (bad / name).write_bytes((bad / name).read_bytes()[:-500])
        else:
            (bad / name).write_text('{"model": {"vocab_size": 300, "eos_token_id": 1, "type": "none"}}')
        with pytest.raises(BadInput) as found:
            load(job(bad))
        assert found.value.port == "model"


def test_prompt_of_a_text(job, tiny):
    from tokenizers import Tokenizer

    ids = (
        Tokenizer.from_file(str(tiny / "tokenizer" / "tokenizer.json"))
        .encode((tiny / "text" / "text.txt").read_text())
        .ids
    )
    given = job(tiny / "model", text=tiny / "text", tokenizer=tiny / "tokenizer")
    made = make_prompt(given, ASKED, read_model(given, ASKED))
    assert made.tolist() == np.reshape(ids[:36], (4, 9)).tolist()
    told = describe(given, ASKED, made)
    assert told["sha256"] == hashlib.sha256(np.array(ids[:36], "<i8").tobytes()).hexdigest()
    assert told["text"] == given.input_info("text").digest


def test_prompt_is_of_the_seed(job, tiny):
    given = job(tiny / "model")
    model = read_model(given, ASKED)
    first, again = (make_prompt(given, ASKED, model) for _ in range(2))
    other = make_prompt(given, Asked(**(vars(ASKED) | {"seed": 4})), model)
    assert (first == again).all()
    assert (first != other).any()
    assert describe(given, ASKED, first) != describe(given, ASKED, other)
