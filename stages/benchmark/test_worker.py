import json
import shutil

import numpy as np
import pytest

PARAMS = {
    "batch": 1,
    "prompt": 9,
    "tokens": 6,
    "warmup": 1,
    "repeats": 3,
    "seed": 3,
    "threads": 1,
    "device": "cpu",
    "dtype": "float32",
    "backend": "auto",
}


@pytest.fixture
def space(workspace, tiny, tmp_path):
    def make(model=None, **params):
        made = workspace()
        folder = model or tiny / "model"
        made.request["params"] = PARAMS | params
        made.add_input("model", folder, "model/onnx" if (folder / "model.onnx").exists() else "model/hf")
        made.request["outputs"] = {"result": "result/benchmark"}
        prove(made, made.root / "proof", "result/check", "check.json")
        return made

    return make


def prove(made, folder, kind, name, **fields):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"model": made.request["inputs"]["model"]["digest"]} | fields))
    (made.root / "in" / "verified").unlink(missing_ok=True)
    made.add_input("verified", folder, kind)


def report(space):
    done = space.run()
    assert done.code == 0, (done.events, done.stderr)
    return done, json.loads((space.out("result") / "benchmark.json").read_text())


def refused(space, says, code=11, **where):
    done = space.run()
    assert done.code == code, (done.events, done.stderr)
    for key, value in where.items():
        assert done.problem[key] == value
    assert says in done.problem["message"], done.problem
    assert done.result is None
    return done.problem


@pytest.mark.parametrize(("precision", "batch"), [("", 1), ("", 4), ("fp32", 4), ("int4", 1)])
def test_every_metric_follows_from_the_samples(space, tiny, graph, precision, batch):
    folder = graph(precision) if precision else tiny / "model"
    s = space(folder, batch=batch)
    done, told = report(s)
    runs, steps = told["runs"], [t for r in told["runs"] for t in r["steps"]]
    assert len(runs) == 3
    assert len(told["warmup"]) == 1
    assert all(len(r["steps"]) == 5 and r["first"] > 0 and min(r["steps"]) > 0 for r in runs + told["warmup"])
    assert np.array(told["tokens"]).shape == (6, batch)
    want = {
        "first_token_ms": np.median([1e3 * r["first"] for r in runs]),
        "batch": batch,
        "load_seconds": told["spent"]["load_seconds"],
        "peak_memory_bytes": told["spent"]["peak_memory_bytes"],
        "size_bytes": sum((folder / p).stat().st_size for p in told["sizes"]),
    }
    for p in (50, 90, 99):
        want[f"token_ms_p{p}"] = 1e3 * np.percentile(steps, p)
    rates = {"prefill": [batch * 9 / r["first"] for r in runs], "decode": [batch * 5 / sum(r["steps"]) for r in runs]}
    for name, rate in rates.items():
        for end, of in (("", np.median), ("_low", min), ("_high", max)):
            want[f"{name}_tokens_per_second{end}"] = of(rate)
    assert done.metrics == pytest.approx(want, rel=1e-9)
    assert told["asked"] == s.request["params"]
    assert told["model"] == s.request["inputs"]["model"]["digest"]
    held = [p for p in folder.iterdir() if p.suffix in (".safetensors", ".onnx", ".data")]
    assert told["sizes"] == {p.name: p.stat().st_size for p in held}
    assert told["spent"]["peak_memory_bytes"] >= told["spent"]["memory_before_load_bytes"] > 0
    assert str(s.root) not in json.dumps(told)
    assert told["engine"].startswith("onnxruntime-genai " if precision else "transformers ")
    assert told["check"]["approximate"] == (precision == "int4")
    assert told["check"]["max_difference"] < 1e-4


@pytest.mark.parametrize(("backend", "engine"), [("steady", "tinfra steady "), ("generate_static", "transformers ")])
def test_other_backends_of_a_checkpoint(space, backend, engine):
    done, told = report(space(backend=backend, batch=2))
    assert told["engine"].startswith(engine)
    assert [len(r["steps"]) for r in told["runs"]] == [5, 5, 5]
    assert told["check"]["max_difference"] < 1e-4
    assert told["gpu"] == {}
    assert "bytes_per_step" not in done.metrics


def test_proof_of_another_model(space, tiny, graph):
    s = space()
    prove(s, s.root / "other", "result/check", "check.json", model="sha256:" + "0" * 64)
    refused(s, "of another model", input="verified")


def test_proof_that_names_no_model(space):
    s = space()
    prove(s, s.root / "other", "result/perplexity", "measured.json", model=None)
    refused(s, "of another model", input="verified")


def test_proof_without_its_file(space):
    s = space()
    prove(s, s.root / "other", "result/perplexity", "check.json")
    refused(s, "measured.json", input="verified")


def test_no_proof(space):
    s = space()
    del s.request["inputs"]["verified"]
    refused(s, "verified", input="verified")


def test_perplexity_is_a_proof(space):
    s = space()
    prove(s, s.root / "other", "result/perplexity", "measured.json")
    _, told = report(s)
    assert told["verified"]["type"] == "result/perplexity"


def test_an_engine_that_computes_something_else(space, tiny, graph, tmp_path):
    """genai is told to run another graph of the folder than the one that was verified."""
    import onnx

    changed = tmp_path / "changed"
    shutil.copytree(graph(), changed)
    other = onnx.load(changed / "model.onnx", load_external_data=False)
    (head,) = [n for n in other.graph.node if n.name.endswith("lm_head/MatMul")]
    (embed,) = [n for n in other.graph.node if n.op_type == "Gather" and "embed_tokens" in n.name]
    head.input[0] = embed.output[0]
    onnx.save(other, changed / "other.onnx")
    config = json.loads((changed / "genai_config.json").read_text())
    config["model"]["decoder"]["filename"] = "other.onnx"
    (changed / "genai_config.json").write_text(json.dumps(config))
    refused(space(changed), "computes something else", input="model")


def test_nan_in_the_weights(space, tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bad"
    shutil.copytree(tiny / "model", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(space(folder), "not finite", input="model")


def test_more_threads_than_were_granted(space):
    problem = refused(space(threads=2), "2 threads", code=10, param="threads")
    assert "needs { cpus = 2 }" in problem["hint"]


def test_device_and_what_was_granted(space, graph):
    refused(space(device="gpu"), "no GPU", code=10, param="device")
    s = space()
    s.request["resources"]["gpus"] = ["0"]
    refused(s, "a GPU was granted", code=10, param="device")
    s = space(graph(), device="gpu")
    s.request["resources"]["gpus"] = ["0"]
    refused(s, "CPU only", code=10, param="device")


def test_dtype_of_a_graph(space, graph):
    refused(space(graph(), dtype="bfloat16"), "its own types", code=10, param="dtype")


def test_beyond_the_context(space, tiny, graph):
    for folder in (tiny / "model", graph()):
        refused(space(folder, prompt=251), "256 positions", code=10, param="prompt")


def test_text_and_tokenizer_go_together(space, tiny):
    for port, folder in (("text", "text"), ("tokenizer", "tokenizer")):
        s = space()
        s.add_input(port, tiny / folder, "files")
        refused(s, "without a", input=port)


def test_short_text(space, tiny, tmp_path):
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "a.txt").write_text("few")
    s = space()
    s.add_input("text", tmp_path / "short", "dataset/text")
    s.add_input("tokenizer", tiny / "tokenizer", "tokenizer/hf")
    refused(s, "take 9", input="text")


def test_damaged_model_is_told_once(space, tiny, tmp_path):
    """The reference finds it first, in a process of its own; its word arrives."""
    folder = tmp_path / "bad"
    shutil.copytree(tiny / "model", folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(space(folder), "model.safetensors is damaged", input="model")


def test_a_busy_machine_is_told(space):
    import subprocess
    import sys

    idle = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        done, told = report(space())
    finally:
        for p in idle:
            p.kill()
            p.wait()
    assert told["load"]["before"]["others"] > 0.3
    warnings = [e["message"] for e in done.events if e["type"] == "log" and e.get("level") == "warning"]
    assert any("not idle" in w and "python" in w for w in warnings)
    assert json.loads(done.result["observed"]["load"]) == told["load"]


def test_cancel(space):
    s = space(repeats=1000, tokens=200)
    done = s.cancel_at(lambda events: any(e.get("what") == "generating" and e["done"] for e in events))
    assert done.code == 143
    assert done.result is None


def test_cancel_during_the_reference(space):
    s = space(repeats=1000, tokens=200)  # with fewer it may have ended before it is told to
    done = s.cancel_at(lambda events: any("reference" in e.get("message", "") for e in events))
    assert done.code == 143
