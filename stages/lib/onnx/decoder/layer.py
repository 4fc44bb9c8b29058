"""One layer of a Llama: norm, attention over the cache, norm, feed-forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.onnx.decoder import attention
from lib.onnx.decoder.linear import Layer, Linears
from lib.onnx.decoder.rope import Turn, turn
from lib.onnx.decoder.tape import Tape
from lib.onnx.decoder.weights import Weights

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Shared:
    """What all layers are given: made once a pass."""

    turn: Turn
    mask: ir.Value


class Body:
    """Makes layers of a model of transformers' `config`."""

    def __init__(self, tape: Tape, weights: Weights, linears: Linears, config: Any) -> None:
        self.tape, self.weights, self.linears, self.config = tape, weights, linears, config
        self.norms = 0  # weights of norms, which each pass reads too

    def norm(self, x: ir.Value, weight: str, name: str) -> ir.Value:
        """RMS norm over the last axis, in float32 but for the weight (Zhang and Sennrich 2019, as Llama has it)."""
        import onnx_ir as ir

        tape, real = self.tape, ir.DataType.FLOAT
        place = self.weights.floats(weight, [self.config.hidden_size])
        self.norms += self.config.hidden_size
        wide = x if tape.dtype == real else tape.op("Cast", [x], f"{name}.wide", to=real.value)
        square = tape.op("Pow", [wide, tape.real("norm.two", 2.0, real)], f"{name}.square")
        mean = tape.op("ReduceMean", [square, tape.whole("axis.last", [-1])], f"{name}.mean")
        safe = tape.op("Add", [mean, tape.real("norm.eps", self.config.rms_norm_eps, real)], f"{name}.safe")
        unit = tape.op("Div", [wide, tape.op("Sqrt", [safe], f"{name}.root")], f"{name}.unit")
        if tape.dtype != real:
            unit = tape.op("Cast", [unit], f"{name}.narrow", to=tape.dtype.value)
        return tape.op("Mul", [unit, tape.typed(weight, place)], name)

    def layer(self, x: ir.Value, number: int, cache: list[ir.Value], shared: Shared) -> tuple[ir.Value, list[ir.Value]]:
        """x, [B, S, hidden], after a layer, and its new keys and values; `cache` is its keys and values so far."""
        at, name = f"model.layers.{number}", f"layers.{number}"
        normed = self.norm(x, f"{at}.input_layernorm.weight", f"{name}.normed")
        attended, new = self._attention(normed, number, cache, shared)
        x = self.tape.op("Add", [x, attended], f"{name}.attended")
        normed = self.norm(x, f"{at}.post_attention_layernorm.weight", f"{name}.renormed")
        return self.tape.op("Add", [x, self._feed_forward(normed, at, name)], f"{name}.out"), new

    def _attention(
        self, x: ir.Value, number: int, cache: list[ir.Value], shared: Shared
    ) -> tuple[ir.Value, list[ir.Value]]:
        c, tape = self.config, self.tape
        at, name, size = f"model.layers.{number}.self_attn", f"layers.{number}", c.head_dim
        wide, narrow = c.num_attention_heads * size, c.num_key_value_heads * size
        asked = [("q", wide), ("k", narrow), ("v", narrow)]
        layers = [
            self._linear(f"{at}.{n}_proj", c.hidden_size, out, "attention_bias", f"{name}.{n}.product")
            for n, out in asked
        ]
        made = self.linears.several(x, layers, f"{name}.qkv")
        both, value = tape.split(made, [wide + narrow, narrow], [f"{name}.qk", f"{name}.v"])
        turned = turn(tape, self._heads(both), shared.turn, f"{name}.turned")
        counts = [c.num_attention_heads, c.num_key_value_heads]
        q, k = tape.split(turned, counts, [f"{name}.q", f"{name}.k"], axis=2)
        q, k = self._across(q, f"{name}.q.across"), self._across(k, f"new.{number}.key")
        v = self._across(self._heads(value), f"new.{number}.value")
        grouped = tape.whole("shape.grouped", [0, c.num_key_value_heads, -1, size])
        q = tape.op("Reshape", [q, grouped], f"{name}.q.grouped")
        out = attention.attend(tape, [q, k, v, *cache, shared.mask], f"{name}.attention")
        apart = tape.op(
            "Reshape", [out, tape.whole("shape.apart", [0, c.num_attention_heads, -1, size])], f"{name}.apart"
        )
        last = self._across(apart, f"{name}.lines")
        flat = tape.op("Reshape", [last, tape.whole("shape.flat", [0, 0, -1])], f"{name}.flat")
        return self.linears.one(
            flat, self._linear(f"{at}.o_proj", wide, c.hidden_size, "attention_bias", f"{name}.o")
        ), [k, v]

    def _heads(self, x: ir.Value) -> ir.Value:
        """[B, S, H·D] as [B, S, H, D]."""
        return self.tape.op(
            "Reshape", [x, self.tape.whole("shape.heads", [0, 0, -1, self.config.head_dim])], f"{x.name}.heads"
        )

    def _across(self, x: ir.Value, name: str) -> ir.Value:
        """[B, S, H, D] as [B, H, S, D], or back."""
        return self.tape.op("Transpose", [x], name, perm=[0, 2, 1, 3])

    def _feed_forward(self, x: ir.Value, at: str, name: str) -> ir.Value:
        tape, hidden, inner = self.tape, self.config.hidden_size, self.config.intermediate_size
        layers = [
            self._linear(f"{at}.mlp.{n}_proj", hidden, inner, "mlp_bias", f"{name}.{n}.product") for n in ("gate", "up")
        ]
        both = self.linears.several(x, layers, f"{name}.gate_up")
        gate, up = tape.split(both, [inner, inner], [f"{name}.gate", f"{name}.up"])
        silu = tape.op("Mul", [gate, tape.op("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.silu")
        product = tape.op("Mul", [silu, up], f"{name}.inner")
        return self.linears.one(product, self._linear(f"{at}.mlp.down_proj", inner, hidden, "mlp_bias", f"{name}.down"))

    def _linear(self, name: str, inputs: int, outputs: int, bias: str, output: str) -> Layer:
        return Layer(name, inputs, outputs, bool(getattr(self.config, bias, False)), output)
