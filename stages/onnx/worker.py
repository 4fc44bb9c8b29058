"""A causal LM as an ONNX graph, and a look at whether the graph is what was asked for.

This file stands alone: a module beside it would have to be imported as `onnx.…`, which is the library.
"""

from __future__ import annotations

import os
import shutil
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.llm.checkpoint import check_model, load_config, load_model
from lib.onnx.builder import HEAD, HEAD_BLOCK, Options, Unsupported, build
from lib.onnx.genai import copy_tokenizer, settle_class
from lib.onnx.graph import Graph, read_graph
from lib.onnx.packed import BITS, check_scheme
from lib.onnx.repack import Layer, attach
from tinfra_worker import BadInput, BadParam, Fault, Job, run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INT8_LEVEL = 4  # onnxruntime 1.32 has no fast code for 8-bit weights at level 1: 20 times slower on two cores


def main(job: Job) -> None:
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported; the builder has no other switch
    packed = check_precision(job, check_model(job, "model"))
    options = Options(packed, job.param("lm_head", str), job.param("accuracy_level", int))
    job.progress(0, 3, "parts", "reading the model")
    model = load_model(job, "model", "auto")
    layers = attach(model, "model") if packed else []
    weights = float_weights(model)
    job.progress(1, 3, "parts", "writing the graph")
    out = job.output("model")
    export(job, model, out, options)
    job.progress(2, 3, "parts", "checking the graph")
    graph = read(out)
    if options.head == "int8":
        raise_level(out, graph)
        graph = read(out)
    check(graph, out, layers, weights, options)
    job.metric("matmul_nbits", len(graph.packed))
    job.metric("size_bytes", sum((out / name).stat().st_size for name in ("model.onnx", *graph.files)))
    job.progress(3, 3, "parts", "checking the graph")


def check_precision(job: Job, config: dict[str, Any]) -> bool:
    """Whether the checkpoint is packed; :class:`BadParam` where precision or lm_head do not fit that."""
    precision, packed = job.param("precision", str), check_scheme(config, "model")
    if packed and precision != "int4":
        raise BadParam("precision", "the model has 4-bit weights", 'set precision to "int4", which keeps them')
    if not packed and precision == "int4":
        raise BadParam("precision", "the model is not quantized", "quantize it by gptq, awq or rtn first")
    if not packed and job.param("lm_head", str) != "keep":
        raise BadParam("lm_head", f"lm_head is {job.param('lm_head', str)}; it can be rounded with precision int4 only")
    return packed


def float_weights(model: PreTrainedModel) -> dict[str, int]:
    """The number of weights of each Linear that is not packed; the head's under "" besides."""
    import torch

    head = model.get_output_embeddings()
    return {
        "" if module is head else name: prod(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not hasattr(module, "qweight")
    }


def export(job: Job, model: PreTrainedModel, out: Path, options: Options) -> None:
    """Fill the output: config and tokenizer as they stand, then the graph by the builder."""
    source = job.input("model")
    config = load_config(job, "model")
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the builder would look for a loader of its own
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)
    port = "tokenizer" if job.has_input("tokenizer") else "model"
    copy_tokenizer(job.input(port), out)
    config._name_or_path = str(out)  # where the builder looks up special tokens and generation settings
    try:
        build(model, config, out, options)
    except Unsupported as e:
        raise BadInput("model", f"onnxruntime-genai's model builder cannot export the model: {e}") from e
    if (out / "tokenizer.json").exists() and not settle_class(out, port):
        job.log("onnxruntime-genai reads this tokenizer otherwise than tokenizers: give it ids, not text", "warning")


def read(out: Path) -> Graph:
    try:
        return read_graph(out)
    except ValueError as e:
        raise Fault(f"the model builder wrote no sound graph: {e}") from e


def raise_level(out: Path, graph: Graph) -> None:
    """Set the accuracy level of the head's node; the tensors beside the graph stay as they are."""
    import onnx

    model = onnx.load(str(out / "model.onnx"), load_external_data=False)
    names = {node.name for node in graph.packed if node.bits == 8}
    for node in model.graph.node:
        if node.name in names:
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = INT8_LEVEL
    onnx.save(model, str(out / "model.onnx"))


def check(graph: Graph, out: Path, layers: list[Layer], weights: dict[str, int], options: Options) -> None:
    """The builder ignores options that it does not know, so what it wrote is compared with what was asked."""
    try:
        graph.layers()
        graph.check_shapes()
        graph.check_files(out)
    except ValueError as e:
        raise Fault(f"the model builder wrote another graph than was asked for: {e}") from e
    head = weights.pop("", 0)
    bodies = [n for n in graph.packed if not n.name.startswith(HEAD + "_") or not head]
    rounded = [n for n in graph.packed if n not in bodies]
    said = [
        ("4-bit weights", sum(n.inputs * n.outputs for n in bodies), sum(p.inputs * p.outputs for p in layers)),
        ("bits", {n.bits for n in bodies}, {BITS} if layers else set()),
        ("group sizes", {n.block for n in bodies}, {p.block for p in layers}),
        ("accuracy levels", {n.accuracy_level for n in bodies}, {options.accuracy_level} if layers else set()),
        ("float weights", sum(graph.floats.values()), sum(weights.values()) + (head if options.head == "keep" else 0)),
        ("head", [(n.bits, n.block, n.accuracy_level) for n in rounded], asked_head(options, head)),
        ("logits", graph.head, "MatMulNBits 4" if not head else head_operator(options)),
    ]
    for what, is_, asked in said:
        if is_ != asked:
            raise Fault(f"the model builder wrote another graph than was asked for: {what} {is_}, not {asked}")


def asked_head(options: Options, head: int) -> list[tuple[int, int, int]]:
    if options.head == "keep" or not head:
        return []
    bits = int(options.head.removeprefix("int"))
    return [(bits, HEAD_BLOCK, INT8_LEVEL if bits == 8 else options.accuracy_level)]


def head_operator(options: Options) -> str:
    return "MatMul" if options.head == "keep" else f"MatMulNBits {options.head.removeprefix('int')}"


if __name__ == "__main__":
    run(main)
