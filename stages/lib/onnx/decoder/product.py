"""Products of activations by weights, and the type in which they are summed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.onnx.decoder.tape import Tape

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Products:
    """`wide` has products of float16 summed in float32."""

    tape: Tape
    wide: bool

    def make(self, x: ir.Value, weight: ir.Value, name: str) -> ir.Value:
        """x, [..., inputs], by a weight [inputs, outputs] of the graph's type.

        TensorRT sums a plain product of float16 in float16. One that stands between casts it computes by a kernel that
        reads and writes float16 and sums in float32, and the casts are gone (so Torch-TensorRT's use_fp32_acc).
        """
        import onnx_ir as ir

        if not self.wide or self.tape.dtype != ir.DataType.FLOAT16:
            return self.tape.op("MatMul", [x, weight], name)
        real = ir.DataType.FLOAT.value
        given = [
            self.tape.op("Cast", [value], f"{name}.{part}.wide", to=real) for part, value in (("x", x), ("by", weight))
        ]
        made = self.tape.op("MatMul", given, f"{name}.wide")
        return self.tape.op("Cast", [made], name, to=self.tape.dtype.value)
