"""8-bit weights and inputs of linear layers, as QuantizeLinear and DequantizeLinear around a product.

The checkpoint's integers, int8 [out, in], are pointed at where they lie; a scale for each output and one for all inputs
are its own. Both ranges lie around zero and are known beforehand: TensorRT takes no zero points, and no scale that
hangs on the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lib.onnx.decoder.added import Added
from lib.onnx.decoder.scales import cast
from lib.onnx.decoder.tape import Tape
from lib.onnx.decoder.weights import Unsound, Weights
from tinfra_worker import BadInput

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

BITS = 8
FORMAT = "int-quantized"  # compressed-tensors' name
Sizes = tuple[str, int, int]  # a layer's name, inputs and outputs


def is_int8(config: dict[str, Any], port: str) -> bool:
    """Whether a model's config.json declares 8-bit weights and inputs; :class:`BadInput` for other kinds of them."""
    found = config.get("quantization_config") or {}
    if found.get("quant_method") != "compressed-tensors" or found.get("format") != FORMAT:
        return False
    for name, group in (found.get("config_groups") or {}).items():
        for part, strategy in (("weights", "channel"), ("input_activations", "tensor")):
            said = group.get(part) or {}
            have = [said.get(k) for k in ("num_bits", "type", "strategy", "symmetric")]
            if have != [BITS, "int", strategy, True] or said.get("dynamic"):
                raise BadInput(
                    port,
                    f"{name} of the checkpoint has {part} of {have[0]} bits, strategy {have[2]}; "
                    f"{BITS} bits with static scales around zero are exported, of strategy {strategy}",
                    "quantize with the kind int8",
                )
    return True


@dataclass
class Eight:
    """Adds layers of 8 bits to a graph."""

    tape: Tape
    weights: Weights
    added: Added
    joins = False  # a constant that is joined first is none to a quantized product of TensorRT
    _inputs: dict[tuple[str | None, float], ir.Value] = field(default_factory=dict)

    def holds(self, layer: str) -> bool:
        name = f"{layer}.weight"
        return name in self.weights and self.weights.find(name).dtype == "I8"

    def form(self) -> tuple[str, int, bool]:
        """Name, group size and symmetry."""
        return "int8", 0, True

    def product(self, x: ir.Value, layers: Sequence[Sizes], name: str) -> tuple[ir.Value, float]:
        """x, [B, S, inputs], by one layer, and the bytes that it reads."""
        ((layer, inputs, outputs),) = layers
        tape = self.tape
        weight = tape.stored(f"{layer}.weight", self.weights.pointed(f"{layer}.weight", [outputs, inputs]))
        self.weights.find(f"{layer}.weight_scale", [outputs, 1])
        rows = self.added.put(f"{name}.scale", tape.dtype, [outputs], lambda: self._scales(layer))
        real = tape.op("DequantizeLinear", [weight, rows], f"{name}.weight", axis=0)
        turned = tape.op("Transpose", [real], f"{name}.columns", perm=[1, 0])
        return tape.op("MatMul", [self._rounded(x, layer), turned], name), outputs * (inputs + tape.dtype.itemsize)

    def _rounded(self, x: ir.Value, layer: str) -> ir.Value:
        """The input on the grid of the layer's inputs; layers with the same scale share it."""
        import onnx_ir as ir

        if self.weights.find(f"{layer}.input_scale").shape not in ((), (1,)):
            raise Unsound(f"{layer} has several scales for its inputs")
        number = float(cast(self.weights.read(f"{layer}.input_scale").flatten(), self.tape.dtype, layer)[0])
        key = (x.name, number)
        if key not in self._inputs:
            at = f"{x.name}.{len(self._inputs)}"
            scale, zero = self.tape.real(f"{at}.scale", number), self.tape.real("zero.int8", 0, ir.DataType.INT8)
            codes = self.tape.op("QuantizeLinear", [x, scale, zero], f"{at}.codes")
            self._inputs[key] = self.tape.op("DequantizeLinear", [codes, scale, zero], f"{at}.rounded")
        return self._inputs[key]

    def _scales(self, layer: str) -> torch.Tensor:
        return cast(self.weights.read(f"{layer}.weight_scale").flatten(), self.tape.dtype, layer)
