"""The vectors that the Go side reads too: stages/protocol/vectors."""

import json
from pathlib import Path

import pytest

from tinfra_worker import event, request, result
from tinfra_worker.strictjson import Malformed

VECTORS = Path(__file__).resolve().parents[2] / "protocol" / "vectors"
DECODERS = {"requests": request.decode, "events": event.decode, "results": result.decode}


def cases(name):
    found = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    assert len(found) >= 20
    return [pytest.param(name, c, id=f"{name}: {c['name']}") for c in found]


@pytest.mark.parametrize(("name", "case"), [c for name in DECODERS for c in cases(name)])
def test_vector(name, case):
    if case["ok"]:
        DECODERS[name](case["text"])
        return
    with pytest.raises(Malformed) as refused:
        DECODERS[name](case["text"])
    for word in case["says"]:
        assert word in str(refused.value)


def test_every_vector_file_is_read():
    assert {p.stem for p in VECTORS.glob("*.json")} == set(DECODERS)
