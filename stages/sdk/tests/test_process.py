"""A worker process from request.json to its exit code."""

import json
import textwrap

import pytest


@pytest.fixture
def worker(workspace, tmp_path):
    """A workspace whose worker is the given source of `def main(job)`."""

    def make(source, **request):
        space = workspace("sdk")
        space.worker = tmp_path / "worker.py"
        space.worker.write_text(
            "import tinfra_worker as w\n" + textwrap.dedent(source) + "\nif __name__ == '__main__':\n    w.run(main)\n"
        )
        space.request["outputs"] = {"model": "model/hf"}
        space.request.update(request)
        return space

    return make


def test_result_and_events(worker):
    space = worker(
        """
        import os
        def main(job):
            job.progress(1, 2, "layers", "at work")
            job.log("slow", "warning")
            job.metric("bits_per_weight", 4.25)
            job.metric("tokens", 3)
            job.label("kind", "a")
            job.observe("threads", os.environ["OMP_NUM_THREADS"])
            job.resolve("commit", "c0ffee")
            (job.output("model") / "x").write_text(str(job.param("bits", int)))
        """,
        params={"bits": 4},
        resources={"cpus": 3, "memory_gib": 1},
    )
    done = space.run()
    assert done.code == 0, done.stderr
    assert done.result == {
        "protocol": 1,
        "metrics": {"bits_per_weight": 4.25, "tokens": 3},
        "labels": {"kind": "a"},
        "observed": {"threads": "3"},
        "resolved": {"commit": "c0ffee"},
    }
    assert [e["type"] for e in done.events] == ["progress", "log", "metric", "metric"]
    assert all(e["time"] > 1.7e9 for e in done.events)
    assert (space.out("model") / "x").read_text() == "4"
    assert not list(space.root.glob("result.json.*"))


def test_reused_files(worker, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w").write_text("weights")
    space = worker(
        """
        def main(job):
            job.reuse("model", "w", port="model", source="deep/w")
            job.reuse("model", "more/w", port="model", source="deep/w")
            (job.output("model") / "config.json").write_text("{}")
            for output, path, port, source in (
                ("model", "w", "model", "deep/w"),
                ("model", "config.json", "model", "deep/w"),
                ("model", "../w", "model", "deep/w"),
                ("model", "v", "model", "../model/deep/w"),
                ("model", "v", "model", "deep"),
                ("model", "v", "other", "w"),
                ("other", "v", "model", "deep/w"),
            ):
                try:
                    job.reuse(output, path, port=port, source=source)
                except (ValueError, w.BadInput):
                    continue
                raise AssertionError((output, path, port, source))
        """
    )
    space.add_input("model", tmp_path, "model/hf")
    done = space.run()
    assert done.code == 0, done.stderr
    assert done.result["reused"] == {"model/w": "model/deep/w", "model/more/w": "model/deep/w"}
    space.fill(done)
    assert (space.out("model") / "w").read_text() == (space.out("model") / "more" / "w").read_text() == "weights"


@pytest.mark.parametrize(
    ("body", "code", "problem"),
    [
        ("raise w.BadParam('bits', 'bits must be 4', 'set bits = 4')", 10, {"param": "bits", "hint": "set bits = 4"}),
        ("job.param('nothing', int)", 10, {"param": "nothing"}),
        ("job.param('name', int)", 10, {"param": "name", "message": "name must be a number, not a string"}),
        ("job.input('model')", 11, {"input": "model"}),
        ("job.output('other')", 11, {}),
        ("raise w.Machine('no GPU')", 12, {"message": "no GPU"}),
        ("raise MemoryError", 13, {"message": "out of memory"}),
        ('raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried 9 bytes")', 13, {}),
        ("raise type('OutOfMemoryError', (RuntimeError,), {})('CUDA out of memory')", 13, {}),
        ("raise OSError(28, 'No space left on device')", 13, {}),
        ("raise RuntimeError('x') from OSError(28, 'No space left on device')", 13, {}),
        ("raise w.Transient('503')", 14, {"message": "503"}),
        ("raise ZeroDivisionError('by zero')", 1, {"message": "ZeroDivisionError: by zero"}),
        ("job.metric('loss', float('nan'))", 1, {"message": "metric loss is NaN: the stage's numbers are broken"}),
        ("job.metric('loss', float('-inf'))", 1, {}),
        ("job.metric('a b', 1)", 1, {}),
    ],
)
def test_failures(worker, body, code, problem):
    done = worker(f"def main(job):\n    {body}\n", params={"name": "x"}).run()
    assert done.code == code, done.stderr
    assert done.result is None
    assert problem.items() <= done.problem.items()


@pytest.mark.parametrize("text", ["", "{", '{"protocol": 2}', "\udcff"])
def test_request_that_cannot_be_read(worker, text):
    space = worker("def main(job):\n    raise AssertionError('must not start')\n")
    done = space.run(request=text.encode("utf-8", "surrogateescape"))
    assert done.code == 11
    assert done.problem["message"].startswith("request.json: ")


def test_sigterm_stops_cleanly(worker):
    space = worker(
        """
        import time
        def main(job):
            job.progress(1, 9, "steps")
            try:
                time.sleep(600)
            except Exception:
                job.log("swallowed")
        """
    )
    (space.root / "tmp" / "half").write_text("x")
    done = space.cancel_at(bool)
    assert done.code == 143
    assert done.result is None
    assert [e["type"] for e in done.events] == ["progress"]
    assert not (space.root / "tmp").exists()


def test_checkpoints_outlive_an_attempt(worker, tmp_path):
    kept = tmp_path / "kept"
    source = """
        def main(job):
            if job.restored("layer-0"):
                job.log((job.restored("layer-0") / "w").read_text())
                return
            piece = job.workspace / "tmp" / "w"
            piece.write_text("weights")
            job.checkpoint("layer-0", [piece])
            raise RuntimeError("crash in hour three")
        """
    first = worker(source, checkpoint=str(kept)).run()
    assert first.code == 1
    second = worker(source, checkpoint=str(kept)).run()
    assert second.code == 0, second.stderr
    assert second.events[0]["message"] == "weights"
    assert second.result["observed"] == {"restored": "layer-0"}
    assert worker(source).run().code == 1  # nowhere to keep: works, keeps nothing


def test_long_message_is_cut(worker):
    done = worker("def main(job):\n    job.log('x' * 3_000_000)\n").run()
    assert done.code == 0, done.stderr
    assert 60_000 < len(done.events[0]["message"]) < (1 << 20)


def test_lines_of_threads_stay_whole(worker):
    space = worker(
        """
        import threading
        def main(job):
            def say(n):
                for i in range(200):
                    job.log(f"{n}:{i}" + "é" * 500)
            all = [threading.Thread(target=say, args=(n,)) for n in range(4)]
            [t.start() for t in all]
            [t.join() for t in all]
        """
    )
    done = space.run()
    assert done.code == 0, done.stderr
    lines = (space.root / "events.jsonl").read_text().splitlines()
    assert len({json.loads(line)["message"].split("é")[0] for line in lines}) == 800


def test_progress_is_thinned_out(worker):
    done = worker(
        """
        def main(job):
            for i in range(1, 20001):
                job.progress(i, 20000, "files", "reading")
            job.progress(1, 3, "files", "writing")
        """
    ).run()
    assert done.code == 0, done.stderr
    told = [(e["what"], e["done"]) for e in done.events]
    assert len(told) < 200
    assert told[0] == ("reading", 1)
    assert told[-2:] == [("reading", 20000), ("writing", 1)]
