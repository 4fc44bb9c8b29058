"""Attention of new tokens over a cache that is only read, as an ONNX function of its own.

The cache belongs to the caller: the graph neither joins it with the new keys and values nor hands it on. The heads of a
group stand beside each other in one product, so keys are read once and never repeated.

The function's inner names begin with fn_: TensorRT's parser skips an inner name that exists outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.onnx.decoder.tape import Tape

if TYPE_CHECKING:
    import onnx_ir as ir

DOMAIN, NAME = "tinfra", "CachedAttention"
HIDDEN = -30000.0  # what is added where nothing may be seen; float16 holds it, and exp of it is 0


def mask(tape: Tape, cache: ir.Value, lengths: ir.Value, steps: ir.Value, groups: int) -> ir.Value:
    """What is added to the scores of cache and new tokens, 0 or HIDDEN: [B, 1, G·S, T + S].

    `cache` is one tensor of it, [B, KV, T, D], `lengths` [B, 1], and `steps` counts 0 to S - 1.
    """
    nought, hidden = tape.real("mask.nought", 0.0), tape.real("mask.hidden", HIDDEN)
    slots = count(tape, cache, 2, "mask.slots")
    rows = tape.op("Where", [tape.op("Less", [slots, lengths], "mask.held"), nought, hidden], "mask.rows")
    column = tape.op("Unsqueeze", [steps, tape.whole("axis.1", [1])], "mask.column")
    low = tape.op("Where", [tape.op("LessOrEqual", [steps, column], "mask.behind"), nought, hidden], "mask.low")
    wide = tape.op("Tile", [low, tape.whole("mask.groups", [groups, 1])], "mask.wide")
    parts = [
        tape.op("Unsqueeze", [rows, tape.whole("axis.1.2", [1, 2])], "mask.cached"),  # [B, 1, 1, T]
        tape.op("Unsqueeze", [wide, tape.whole("axis.0.1", [0, 1])], "mask.new"),  # [1, 1, G·S, S]
    ]
    batch = tape.op("Shape", [lengths], "mask.batch", start=0, end=1)
    lines = tape.op("Shape", [wide], "mask.lines", start=0, end=1)
    one = tape.whole("mask.one", [1])
    shape = tape.op("Concat", [batch, one, lines, one], "mask.shape", axis=0)
    return tape.op("Concat", [tape.op("Expand", [p, shape], f"{p.name}.spread") for p in parts], "mask", axis=-1)


def count(tape: Tape, value: ir.Value, axis: int, name: str) -> ir.Value:
    """0 to the size of an axis - 1, int64."""
    size = tape.op("Shape", [value], f"{name}.size", start=axis, end=axis + 1)
    limit = tape.op("Squeeze", [size], f"{name}.limit")
    return tape.op("Range", [tape.whole("zero", 0), limit, tape.whole("one", 1)], name)


def attend(tape: Tape, inputs: list[ir.Value], name: str) -> ir.Value:
    """[B, KV, G·S, D] of queries in that shape, new keys and values, cached ones [B, KV, T, D], and the mask."""
    return tape.op(NAME, inputs, name, domain=DOMAIN)


def function(opset: int) -> ir.Function:
    """The function's body in plain operators: one softmax over the scores of cache and new tokens.

    On an H100 with TensorRT 10.6 a copy of the cache joined with the new keys was as fast, and grows with T.
    """
    import onnx_ir as ir

    tape = Tape(ir.DataType.FLOAT)  # the body names no type
    names = ["q", "k", "v", "cached_k", "cached_v", "mask"]
    given = {name: ir.val(f"fn_{name}") for name in names}
    graph = ir.Graph(list(given.values()), [_body(tape, given)], nodes=tape.nodes, opset_imports={"": opset})
    return ir.Function(DOMAIN, NAME, graph=graph, attributes=[])


def _body(tape: Tape, given: dict[str, ir.Value]) -> ir.Value:
    scores = []
    for part, keys in (("cached", given["cached_k"]), ("new", given["k"])):
        turned = tape.op("Transpose", [keys], f"fn_{part}_turned", perm=[0, 1, 3, 2])
        scores.append(tape.op("MatMul", [given["q"], turned], f"fn_{part}_scores"))
    masked = tape.op("Add", [tape.op("Concat", scores, "fn_scores", axis=-1), given["mask"]], "fn_masked")
    shares = tape.op("Softmax", [masked], "fn_shares", axis=-1)
    keys = {"cached": given["cached_k"], "new": given["k"]}
    sizes = [tape.op("Shape", [value], f"fn_{part}_size", start=2, end=3) for part, value in keys.items()]
    both = tape.parts(shares, tape.op("Concat", sizes, "fn_sizes", axis=0), ["fn_cached_share", "fn_new_share"])
    values = {"cached": given["cached_v"], "new": given["v"]}
    sums = [
        tape.op("MatMul", [share, value], f"fn_{part}_sum")
        for share, (part, value) in zip(both, values.items(), strict=True)
    ]
    return tape.op("Add", sums, "fn_out")
