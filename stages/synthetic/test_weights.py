import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoConfig

from lib.hf.header import make_header
from synthetic.weights import BLOCK, Writer, split

MIB = 1 << 20
WIDE = [("embed.weight", (3, BLOCK // 2)), ("norm.weight", (9,)), ("head.weight", (BLOCK + 5, 2))]


def peak():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture
def written(tmp_path):
    def make(shapes, dtype="bfloat16", threads=1, **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        told = []
        Writer(dtype, 5, threads, **options).write(folder, shapes, lambda *done: told.append(done))
        return folder, told

    return make


def test_any_number_of_threads_gives_the_same_bytes(written):
    one, told = written(WIDE, threads=1, shard=4 * BLOCK)
    five, _ = written(WIDE, threads=5, shard=4 * BLOCK)
    assert digests(one) == digests(five)
    total = BLOCK * 3 // 2 + 9 + 2 * BLOCK + 10
    assert told[-1] == (total, total)
    assert len(told) == 2 + 1 + 3  # blocks


def test_blocks_differ_and_are_as_wide_as_they_should_be(written):
    folder, _ = written(WIDE, dtype="float32")
    drawn = load_file(folder / "model.safetensors")
    assert drawn["norm.weight"].eq(1).all()
    flat = drawn["head.weight"].flatten()
    assert flat.shape == (2 * BLOCK + 10,)
    assert not torch.equal(flat[:100], flat[BLOCK : BLOCK + 100])
    assert not torch.equal(flat[:100], drawn["embed.weight"].flatten()[:100])
    for part in (flat[:BLOCK], flat[BLOCK : 2 * BLOCK]):
        assert abs(part.mean()) < 1e-4
        assert 0.0199 < part.std() < 0.0201


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_file_is_one_that_safetensors_reads(written, dtype):
    folder, _ = written([("a", (3, 5)), ("n", (7,)), ("b", (2, 2))], dtype)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()} == {"a": (3, 5), "n": (7,), "b": (2, 2)}  # noqa: SIM118
        assert file.get_tensor("a").dtype == getattr(torch, dtype)


def test_memory_is_bounded_by_threads(written):
    """A GiB in two files, by two threads, in less than a fifth of that."""
    shapes = [(f"layer.{n}.weight", (1 << 13, 1 << 13)) for n in range(8)]
    written([("warm", (BLOCK, 1))], threads=2)
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): count the peak from here
    before = peak()
    folder, _ = written(shapes, threads=2, shard=512 * MIB)
    assert sum(p.stat().st_size for p in folder.glob("*.safetensors")) > 1024 * MIB
    assert peak() - before < 200 * MIB
    for path in folder.iterdir():
        os.truncate(path, 0)  # pytest keeps the folders of its last runs


def test_the_shape_of_llama_3_8b(workspace):
    """Header and files of the whole model, without a number drawn."""
    from synthetic.shape import make_config, tensors

    space = workspace("synthetic")
    space.request["params"] = {"seed": 0, "shape": "llama-3-8b", "tie_embeddings": False, "text_bytes": 1024}
    config = make_config(space.job())
    shapes = list(tensors(config))
    parts = split(shapes, 2, 4 << 30)
    assert len(parts) == 4
    assert sum(len(p) for p in parts) == len(shapes) == 2 + 1 + 32 * 9
    heads = [make_header({name: ("BF16", shape) for name, shape in part}) for part in parts]
    said = [json.loads(h[8:]) for h in heads]
    ends = [max(e["data_offsets"][1] for name, e in s.items() if name != "__metadata__") for s in said]
    assert sum(ends) == 2 * 8_030_261_248
    assert max(ends) <= 4 << 30
    assert all(len(h) % 8 == 0 for h in heads)
    config.save_pretrained(space.root)
    read = AutoConfig.from_pretrained(space.root)
    assert (read.num_key_value_heads, read.head_dim, read.rms_norm_eps) == (8, 128, 1e-5)
    assert read.rope_parameters["rope_theta"] == 500000
    space.request["params"]["layers"] = 4
    assert make_config(space.job()).num_hidden_layers == 4
