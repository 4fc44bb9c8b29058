"""A decoder of a Llama-shaped checkpoint, written as an ONNX graph from its headers: no weight is read for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.llm.contract import Contract
from lib.onnx.decoder import attention
from lib.onnx.decoder.added import Added
from lib.onnx.decoder.int4 import Packing
from lib.onnx.decoder.int8 import Eight
from lib.onnx.decoder.layer import Body, Shared
from lib.onnx.decoder.linear import Layer, Linears, Quantized
from lib.onnx.decoder.product import Products
from lib.onnx.decoder.rope import gather
from lib.onnx.decoder.tape import Tape
from lib.onnx.decoder.weights import Weights
from lib.onnx.graph import MODEL

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

OPSET, IR_VERSION = 21, 10  # INT4 came with them
PRODUCER = "tinfra onnx_decoder"
EMBEDDING = "model.embed_tokens.weight"
DTYPES = {"float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}


@dataclass(frozen=True)
class Asked:
    """What is to be exported: transformers' config, the graph's type, and the tokens that end a text."""

    config: Any
    dtype: str
    ends: list[int]
    weights: str  # how the checkpoint has them: float, int4 or int8
    wide: bool  # float16 is summed in float32


class Decoder:
    """A graph in the making. Raises weights.Unsound where the weights are not what the config says."""

    def __init__(self, asked: Asked, weights: Weights, device: torch.device) -> None:
        import onnx_ir as ir

        self.asked, self.config, self.weights = asked, asked.config, weights
        self.tape = Tape(ir.DataType[DTYPES[asked.dtype]])
        self.added = Added(self.tape)
        products = Products(self.tape, asked.wide)
        self.quantized: Quantized | None = None
        if asked.weights == "int4":
            self.quantized = Packing(self.tape, weights, self.added, products, device)
        elif asked.weights == "int8":
            self.quantized = Eight(self.tape, weights, self.added)
        self.linears = Linears(self.tape, weights, products, self.quantized)
        self.body = Body(self.tape, weights, self.linears, self.config)
        self.inputs = self._inputs()
        self.outputs = self._outputs()

    def write(self, folder: Path, tell: Callable[[int, int], None]) -> Contract:
        """Write model.onnx and added.safetensors; `tell` is given how many added tensors are written, of how many."""
        import onnx_ir as ir

        self.added.write(folder, tell)
        graph = ir.Graph(
            list(self.inputs.values()),
            self.outputs,
            nodes=self.tape.nodes,
            initializers=self.tape.initializers,
            opset_imports={"": OPSET, attention.DOMAIN: 1},
            name="decoder",
        )
        body = attention.function(OPSET)
        model = ir.Model(graph, ir_version=IR_VERSION, producer_name=PRODUCER, functions=[body])
        (folder / MODEL).write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))
        return self._contract()

    def _inputs(self) -> dict[str, ir.Value]:
        import onnx_ir as ir

        c, whole = self.config, ir.DataType.INT64
        cache = ["B", c.num_key_value_heads, "T", c.head_dim]
        given = [
            ir.val("input_ids", whole, ["B", "S"]),
            ir.val("lengths", whole, ["B"]),
            ir.val("rows", whole, ["R"]),
        ]
        for n in range(c.num_hidden_layers):
            given += [ir.val(f"cache.{n}.{part}", self.tape.dtype, cache) for part in ("key", "value")]
        return {value.name or "": value for value in given}

    def _outputs(self) -> list[ir.Value]:
        """Record all nodes; logits, then each layer's new keys and values."""
        c, tape, given = self.config, self.tape, self.inputs
        steps = attention.count(tape, given["input_ids"], 1, "steps")
        lengths = tape.op("Unsqueeze", [given["lengths"], tape.whole("axis.1", [1])], "lengths.column")
        turn = gather(tape, self.added, c, tape.op("Add", [lengths, steps], "positions"))
        groups = c.num_attention_heads // c.num_key_value_heads
        shared = Shared(turn, attention.mask(tape, given["cache.0.key"], lengths, steps, groups))
        x = self._embed(given["input_ids"])
        new: list[ir.Value] = []
        for n in range(c.num_hidden_layers):
            x, made = self.body.layer(x, n, [given[f"cache.{n}.{part}"] for part in ("key", "value")], shared)
            new += made
        last = tape.op("Gather", [x, given["rows"]], "last", axis=1)
        logits = self._head(self.body.norm(last, "model.norm.weight", "last.normed"))
        sizes = ["B", c.num_key_value_heads, "S", c.head_dim]
        for value, shape in ((logits, ["B", "R", c.vocab_size]), *((v, sizes) for v in new)):
            _declare(value, tape.dtype, shape)
        return [logits, *new]

    def _embed(self, ids: ir.Value) -> ir.Value:
        place = self.weights.floats(EMBEDDING, [self.config.vocab_size, self.config.hidden_size])
        table = self.tape.stored(EMBEDDING, place)
        rows = self.tape.op("Gather", [table, ids], "embedded", axis=0)
        return (
            rows
            if table.dtype == self.tape.dtype
            else self.tape.op("Cast", [rows], "embedded.cast", to=self.tape.dtype.value)
        )

    def _head(self, x: ir.Value) -> ir.Value:
        tied = self.config.tie_word_embeddings
        name = EMBEDDING.removesuffix(".weight") if tied else "lm_head"
        return self.linears.one(x, Layer(name, self.config.hidden_size, self.config.vocab_size, False, "logits"))

    def _contract(self) -> Contract:
        c = self.config
        kind, group, symmetric = self.quantized.form() if self.quantized else ("float", 0, True)
        return Contract(
            architecture=c.architectures[0],
            layers=c.num_hidden_layers,
            heads=c.num_attention_heads,
            kv_heads=c.num_key_value_heads,
            head_dim=c.head_dim,
            hidden=c.hidden_size,
            vocabulary=c.vocab_size,
            context=c.max_position_embeddings,
            dtype=self.asked.dtype,
            ends=tuple(self.asked.ends),
            weights=kind,
            group=group,
            symmetric=symmetric,
            weight_bytes=round(self.linears.read + self.body.norms * self.tape.dtype.itemsize),
        )


def _declare(value: ir.Value, dtype: ir.DataType, shape: list[int | str]) -> None:
    import onnx_ir as ir

    value.dtype, value.shape = dtype, ir.Shape(shape)
