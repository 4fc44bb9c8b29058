"""The whole Llama-3-8B shape, whose weights are never written: files of headers and holes."""

import json
import os
import time
from pathlib import Path

from transformers import LlamaConfig

import onnx
from lib.hf.header import make_header
from onnx_decoder import worker
from synthetic.shape import make_config, tensors
from synthetic.weights import split


def hollow(folder, workspace):
    """A checkpoint of 16 GB that takes some KB."""
    space = workspace("synthetic")
    space.request["params"] = {"shape": "llama-3-8b", "tie_embeddings": False}
    config: LlamaConfig = make_config(space.job())
    folder.mkdir()
    config.save_pretrained(folder)
    for n, part in enumerate(split(list(tensors(config)), 2, 4 << 30)):
        head = make_header({name: ("BF16", shape) for name, shape in part})
        path = folder / f"model-{n}.safetensors"
        path.write_bytes(head)
        entries = json.loads(head[8:])
        size = max(e["data_offsets"][1] for name, e in entries.items() if name != "__metadata__")
        os.truncate(path, len(head) + size)
    return folder


def peak():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_llama_3_8b_from_its_headers(workspace, tmp_path):
    checkpoint = hollow(tmp_path / "hollow", workspace)
    made = workspace("onnx_decoder")
    made.request |= {
        "params": {"dtype": "float16", "accumulate": "float32"},
        "outputs": {"model": "model/onnx-decoder"},
    }
    # Not by add_input, which would hash 16 GB of holes.
    (made.root / "in" / "model").symlink_to(checkpoint, target_is_directory=True)
    given = {"path": "in/model", "type": "model/hf", "digest": "sha256:" + 64 * "0", "labels": {}}
    made.request["inputs"]["model"] = given
    job = made.job()
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): count the peak from here
    before, start = peak(), time.process_time()
    worker.main(job)
    assert time.process_time() - start < 5
    assert peak() - before < 250 << 20
    told = job.result.metrics
    assert len(job.result.reused) == 4
    assert told["size_bytes"] > 16e9
    assert told["added_bytes"] < 20e6
    assert (made.out("model") / "model.onnx").stat().st_size < 2e6
    assert told["weight_bytes"] == 2 * (8_030_261_248 - 128256 * 4096)
    graph = onnx.load(made.out("model") / "model.onnx", load_external_data=False).graph
    ends = {}
    for tensor in graph.initializer:
        entry = {e.key: e.value for e in tensor.external_data}
        if entry and entry["location"] != "added.safetensors":
            ends[entry["location"]] = max(ends.get(entry["location"], 0), int(entry["offset"]) + int(entry["length"]))
    assert ends == {p.name: p.stat().st_size for p in (tmp_path / "hollow").glob("*.safetensors")}
