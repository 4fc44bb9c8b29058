"""Engines as they run: `pytest -m gpu stages/tensorrt` on a machine with a GPU, TensorRT and the quantizers."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.gpu

SIZES = {
    "vocab_size": 512,
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "num_hidden_layers": 2,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
PARAMS = {
    "decode": [{"batch": 1, "length": 96}, {"batch": 3, "length": 96}],
    "spans": False,
    "inspect": True,
    "prefill": 16,
    "score": 32,
    "optimization": 1,  # a third of the time that level 3 takes
}
DTYPES = {"fp16": "float16", "bf16": "bfloat16", "int4": "float16", "int4 asymmetric": "float16"}
SPANS = " spans"  # behind a kind: its decode profiles are for batches 1 and 2-3
# Of the logits' norm. TensorRT sums products of float16 in float16.
TOLERANCE = {"fp16": 0.02, "bf16": 0.04, "int4": 0.02, "int4 asymmetric": 0.02}
# Kinds that are built side by side: each keeps one processor busy.
TOGETHER = (("fp16", "fp16" + SPANS, "bf16"), ("int4", "int4 asymmetric"))


def write_checkpoint(folder, dtype):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.03) if parameter.ndim > 1 else parameter.normal_(1, 0.1)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def done(space):
    outcome = space.run()
    assert outcome.code == 0, outcome.said
    return outcome


def space_of(workspace, graph, timing=None, **params):
    made = workspace("tensorrt")
    made.request["params"] = PARAMS | params
    made.request["resources"]["cpus"] = 4
    made.add_input("model", graph, "model/onnx-decoder")
    if timing:
        made.add_input("timing", timing, "engine/timing")
    made.request["outputs"] = {"engine": "engine/tensorrt", "timing": "engine/timing", "report": "result/engine"}
    return made


@pytest.fixture(scope="module")
def begin(lasting, graph_of, pack, tmp_path_factory):
    """Begins to build an engine of a kind: its checkpoint, workspace and process."""
    begun = []

    def start(kind):
        folder = tmp_path_factory.mktemp("checkpoint")
        checkpoint = write_checkpoint(folder / "model", "bfloat16" if kind == "bf16" else "float16")
        if kind.startswith("int4"):
            checkpoint = pack(checkpoint, folder / "packed", {"Linear": 128}, kind == "int4", ("lm_head",))
        graph = graph_of(checkpoint, DTYPES[kind.removesuffix(SPANS)])
        space = space_of(lasting, graph, spans=kind.endswith(SPANS))
        process = space.start()
        begun.append(process)
        return checkpoint, space, process

    yield start
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def build(begin):
    """Builds each kind of engine once: its folder, its checkpoint, its workspace and what its worker told."""
    begun, built = {}, {}

    def make(kind):
        if kind not in begun:
            begun.update({one: begin(one) for kinds in TOGETHER if kind in kinds for one in kinds})
        checkpoint, space, process = begun[kind]
        if kind not in built:
            built[kind] = space.outcome(process)
        assert built[kind].code == 0, f"{kind}: {built[kind].said}"
        return space.out("engine"), checkpoint, space, built[kind]

    return make


def decoder_of(folder):
    from lib.trt.engine import EngineDecoder

    return EngineDecoder(folder)


def reference(checkpoint, ids):
    """Logits of the same weights in float32, unpacked where they are packed."""
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    said = json.loads((checkpoint / "config.json").read_text())
    options = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if "quantization_config" in said else {}
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, **options).cuda().eval()
    with torch.inference_mode():
        return model(ids.cuda()).logits.float()


def draw(batch, length, seed=0):
    return torch.randint(0, SIZES["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


def off(got, want):
    """Both on the CPU: transformers leaves the logits of an unpacked checkpoint where accelerate's hooks say."""
    return float((got.float().cpu() - want.cpu()).norm() / want.norm())


def near(found, kind):
    """Whether logits are near enough; told with all figures where not, NaN among them."""
    assert all(one < TOLERANCE[kind] for one in found), f"{kind}: {[round(one, 5) for one in found]} off"


@pytest.mark.parametrize("kind", DTYPES)
def test_logits_are_the_checkpoints_for_rows_of_different_lengths(build, kind):
    folder, checkpoint, _, _ = build(kind)
    ids, ends = draw(3, 60), torch.tensor([3, 9, 14])
    want = reference(checkpoint, ids)
    decoder = decoder_of(folder)
    assert decoder.dtype == DTYPES[kind]
    decoder.open(3, 96)
    given = draw(3, 14, seed=1)
    for row, end in enumerate(ends):
        given[row, :end] = ids[row, :end]
    logits = decoder.feed(given, torch.arange(14))
    found = [off(logits[row, :end], want[row, :end]) for row, end in enumerate(ends)]
    decoder.rewind(ends)
    for size in (1, 1, 5, 1):  # steps, and a chunk between them
        part = torch.stack([ids[row, end : end + size] for row, end in enumerate(ends)])
        logits = decoder.feed(part, torch.arange(size))
        found += [off(logits[row], want[row, end : end + size]) for row, end in enumerate(ends)]
        ends += size
    near(found, kind)


def test_long_prompts_go_in_parts_and_rewinding_leaves_the_rest(build):
    folder, checkpoint, _, _ = build("fp16")
    ids = draw(2, 70)  # a batch without a decode profile of its own
    want = reference(checkpoint, ids)
    decoder = decoder_of(folder)
    decoder.open(2, 90)
    found = [off(decoder.feed(ids, torch.arange(70)), want)]
    decoder.rewind(40)
    decoder.feed(draw(2, 9, seed=3), torch.tensor([8]))
    decoder.rewind(40)
    found.append(off(decoder.feed(ids[:, 40:], torch.tensor([29]))[:, 0], want[:, 69]))
    near(found, "fp16")


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("kind", ["fp16", "fp16 spans"])
def test_the_captured_step_chooses_what_plain_passes_do(build, kind, batch):
    folder, _, _, _ = build(kind)
    ids = draw(batch, 12)
    decoder = decoder_of(folder)
    decoder.open(batch, 60)
    for bar in (torch.tensor([], dtype=torch.int64), torch.tensor([1, 7])):
        made = decoder.generate(ids, 40, bar)
        assert len(made.step_seconds) == 39
        assert all(s > 0 for s in (made.first_seconds, *made.step_seconds))
        decoder.rewind()
        chosen, gaps, last = [], [], decoder.feed(ids, torch.tensor([11]))
        for _ in range(40):
            last[:, :, bar] = float("-inf")
            chosen.append(last[:, 0].argmax(-1))
            gaps.append(last[:, 0].float().topk(2).values.diff().abs()[:, 0])
            last = decoder.feed(chosen[-1][:, None], torch.tensor([0]))
        plain, gaps = torch.stack(chosen, 1).cpu(), torch.stack(gaps, 1)
        other = [tuple(where) for where in (made.tokens != plain).nonzero().tolist()]
        told = [f"{at}: {made.tokens[at]} for {plain[at]}, the best two {gaps[at]:.3g} apart" for at in other[:3]]
        assert not other, f"{len(other)} of {plain.numel()} tokens are others: {told}"
    assert torch.equal(decoder.generate(ids, 40, bar).tokens, made.tokens)


def test_engines_can_be_opened_anew_in_other_shapes(build):
    folder, checkpoint, _, _ = build("fp16")
    decoder, found = decoder_of(folder), []
    for batch, length in ((3, 96), (1, 40), (3, 20)):
        ids = draw(batch, 10, seed=length)
        decoder.open(batch, length)
        decoder.generate(ids, 5, torch.tensor([1]))
        decoder.rewind()
        found.append(off(decoder.feed(ids, torch.arange(10)), reference(checkpoint, ids)))
    near(found, "fp16")


def test_what_is_told_of_an_engine(build):
    folder, _, space, outcome = build("fp16")
    metrics = outcome.metrics
    assert metrics["size_bytes"] == (folder / "engine.plan").stat().st_size
    assert 0 < metrics["step_ms"] < 100
    assert metrics.get("layers", 0) > 10, (space.out("report") / "limits.json").read_text()
    assert metrics["fallbacks"] == 0, (space.out("report") / "limits.json").read_text()
    assert outcome.result["labels"]["fits.gpu.arch"].startswith("sm_")
    assert outcome.result["labels"]["tensorrt"] == "10.6.0"
    assert {p.name for p in folder.iterdir()} >= {"engine.plan", "engine.json", "decoder.json", "config.json"}
    assert not list(folder.glob("*.safetensors")) + list(folder.glob("*.onnx"))
    text = (space.out("report") / "engine.md").read_text()
    uses = [profile["use"] for profile in json.loads((folder / "engine.json").read_text())["profiles"]]
    assert {use: text.count(f"## {use}") for use in uses} == {use: uses.count(use) for use in uses}
    assert "MatMul" in text or "gemm" in text, text
    assert len(json.loads((space.out("report") / "profile.json").read_text())) == len(uses)


def test_the_4_bit_weights_stay_so(build):
    for kind in ("int4", "int4 asymmetric"):
        _, _, space, outcome = build(kind)
        assert outcome.metrics["fallbacks"] == 0, (space.out("report") / "limits.json").read_text()


def test_timings_are_used_again(build, workspace):
    _, _, space, _ = build("fp16")
    again = done(space_of(workspace, (space.root / "in" / "model").resolve(), space.out("timing")))
    said = [e["message"] for e in again.events if e.get("level") == "warning"]
    assert again.metrics.get("tactics_changed") == 0, said
    assert not [line for line in said if "timed anew" in line]


def test_an_engine_of_another_architecture_is_refused(build, tmp_path):
    folder = tmp_path / "doctored"
    shutil.copytree(build("fp16")[0], folder)
    said = json.loads((folder / "engine.json").read_text())
    (folder / "engine.json").write_text(json.dumps(said | {"gpu_arch": "sm_80"}))
    with pytest.raises(ValueError, match="built for sm_80; this GPU is sm_"):
        decoder_of(folder)


def test_a_damaged_engine_is_told_of(build, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(build("fp16")[0], folder)
    (folder / "engine.plan").write_bytes(b"no engine at all" * 100)
    with pytest.raises(ValueError, match=r"engine\.plan cannot be loaded"):
        decoder_of(folder)


def test_a_graph_that_the_parser_refuses_names_its_node(build, workspace, tmp_path):
    import onnx

    source = (build("fp16")[2].root / "in" / "model").resolve()
    folder = tmp_path / "graph"
    shutil.copytree(source, folder)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    (node,) = [n for n in model.graph.node if "logits" in n.output]
    node.op_type, node.name = "NotAnOperator", "the.head"
    onnx.save(model, folder / "model.onnx")
    outcome = space_of(workspace, folder).run()
    assert outcome.code == 11, outcome.said
    assert "the.head" in outcome.problem["message"], outcome.said


@pytest.mark.parametrize(("bits", "kinds"), [(8, ["unpacked"]), (4, [])])
def test_integer_weights_that_tensorrt_unpacks_are_named(tmp_path, bits, kinds):
    from lib.trt import build, library, limits, network, profiles

    write_product(tmp_path, bits)
    trt = library.load()
    logger = library.make_logger(trt)
    wanted = build.Wanted(profiles.plan([(1, 16)], 16, 0), 1, b"")
    build.build(trt, logger, network.parse(trt, logger, tmp_path), wanted, lambda *_: None)
    assert limits.held(logger.lines), logger.lines  # the library has one logger a process: another one got the lines
    found = limits.find(logger.lines, [], network.read_weights(tmp_path, "float16"), "float16")
    assert [limit.kind for limit in found if limit.kind in limits.LEFT] == kinds, found


def write_product(folder, bits, inputs=1024, outputs=8192):
    """A product with integer weights over something that is called as a decoder's input is."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    if bits == 8:
        weight = numpy_helper.from_array(rng.integers(-127, 127, (inputs, outputs)).astype(np.int8), "w")
        scale, how = np.full(outputs, 0.001, np.float16), {"axis": 1}
    else:
        raw = rng.integers(0, 256, inputs * outputs // 2).astype(np.uint8).tobytes()
        weight = helper.make_tensor("w", TensorProto.INT4, [inputs, outputs], raw, raw=True)
        scale, how = np.full((inputs // 128, outputs), 0.001, np.float16), {"axis": 0, "block_size": 128}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], name="unpack", **how),
        helper.make_node("MatMul", ["cache.0.key", "d"], ["logits"], name="product"),
    ]
    kind = TensorProto.FLOAT16
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("cache.0.key", kind, ["B", 1, "T", inputs])],
        [helper.make_tensor_value_info("logits", kind, ["B", 1, "T", outputs])],
        [weight, numpy_helper.from_array(scale, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    save(model, str(folder / "model.onnx"))
