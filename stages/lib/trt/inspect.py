"""What TensorRT's inspector says of an engine's layers, beside the time that each takes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

_NODE = re.compile(r"\[ONNX Layer: ([^\]\x1e]*)\]")
# Inside of a decoder graph's function all names begin with fn_.
_ATTENTION = re.compile(r"mha|attention|fn_", re.IGNORECASE)
_PRODUCT = re.compile(r"gemm|gemv|matrixmultiply|matmul|__myl_Fc", re.IGNORECASE)
TOP = 10


@dataclass(frozen=True)
class Layer:
    """A layer as it runs: `kind` is TensorRT's word, `tactic` the kernel or its number, `formats` the types of what
    goes in and what comes out, `nodes` the graph's nodes that it was made of.
    """

    name: str
    kind: str
    tactic: str
    formats: tuple[tuple[str, ...], tuple[str, ...]]
    nodes: tuple[str, ...]

    @property
    def family(self) -> str:
        """attention, product or rest."""
        said = f"{self.name} {self.kind} {self.tactic}"
        if _ATTENTION.search(said) or any(_ATTENTION.search(node) for node in self.nodes):
            return "attention"
        return "product" if _PRODUCT.search(said) else "rest"


def select(text: str, names: Collection[str]) -> str:
    """Of the inspector's JSON of an engine the layers of these names, or all where it has none of them: it tells of all
    profiles, whose layers have different names.
    """
    if not text:
        return ""
    found = json.loads(text)
    own = [entry for entry in found.get("Layers", []) if isinstance(entry, dict) and entry.get("Name") in names]
    return json.dumps(found | {"Layers": own}) if own else text


def read_layers(text: str) -> list[Layer]:
    """Layers of the inspector's JSON; ValueError for anything else. An engine built without details has names only.

    None of an empty text: the inspector was not asked, or failed.
    """
    if not text:
        return []
    found = json.loads(text)
    entries = found.get("Layers") if isinstance(found, dict) else None
    if entries is None:
        raise ValueError("the inspector names no layers")
    return [_layer(entry if isinstance(entry, dict) else {"Name": str(entry)}) for entry in entries]


def _layer(entry: Mapping[str, object]) -> Layer:
    def text(*names: str) -> str:
        return next((str(entry[name]) for name in names if entry.get(name) not in (None, "")), "")

    def formats(side: str) -> tuple[str, ...]:
        tensors = entry.get(side)
        return tuple(str(t.get("Format/Datatype", "")) for t in tensors) if isinstance(tensors, list) else ()

    return Layer(
        text("Name"),
        text("LayerType"),
        text("TacticName", "TacticValue"),
        (formats("Inputs"), formats("Outputs")),
        tuple(_NODE.findall(text("Metadata"))),
    )


def tactics(layers: Sequence[Layer]) -> dict[str, str]:
    """What was chosen for each layer."""
    return {layer.name: layer.tactic for layer in layers if layer.tactic}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Layers whose tactic is another, or which stand in one of the two only."""
    return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())


def shares(layers: Sequence[Layer], times: Mapping[str, float]) -> dict[str, float]:
    """The part of the time that each family of layers takes."""
    total = sum(times.values()) or 1.0
    known = {layer.name: layer for layer in layers}
    found = dict.fromkeys(("product", "attention", "rest"), 0.0)
    for name, spent in times.items():
        found[known.get(name, _unknown(name)).family] += spent / total
    return found


def _unknown(name: str) -> Layer:
    """A layer of which the inspector says nothing: its name tells some."""
    return Layer(name, "", "", ((), ()), ())


def markdown(title: str, layers: Sequence[Layer], times: Mapping[str, float]) -> str:
    """A section of a report: what takes the time of one pass, in microseconds. Without layers it has names alone."""
    known = {layer.name: layer for layer in layers}
    told = f"{len(times)} layers, {sum(times.values()):,.0f} µs when each is timed alone"
    if layers:
        told += ": " + ", ".join(f"{name} {part:.0%}" for name, part in shares(layers, times).items())
    head = ["µs", "layer", *(["kind", "kernel", "in → out"] if layers else [])]
    lines = [f"## {title}", "", f"{told}.", "", _row(head), "|" + len(head) * "---|"]
    for name, spent in sorted(times.items(), key=lambda item: -item[1])[:TOP]:
        layer = known.get(name, _unknown(name))
        formats = " → ".join(", ".join(dict.fromkeys(side)) for side in layer.formats)
        cells = (f"{spent:,.1f}", _short(name), layer.kind, _short(layer.tactic), formats)
        lines.append(_row(cells[: len(head)]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(text: str, most: int = 90) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"
