"""What was asked when a model was scored: two results can be set side by side when this is the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tinfra_worker import Job

LABEL = "protocol"  # the core compares it before a `require` reads two stages' metrics


def canonical(protocol: dict[str, Any]) -> str:
    """One spelling: keys sorted, no blanks (RFC 8785 for strings and whole numbers, and there is nothing else)."""
    return json.dumps(protocol, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def announce(job: Job, protocol: dict[str, Any]) -> None:
    """Put the protocol's fingerprint on the outputs, and its text into the record."""
    text = canonical(protocol)
    job.label(LABEL, hashlib.sha256(text.encode()).hexdigest())
    job.observe(LABEL, text)


def differences(one: dict[str, Any], two: dict[str, Any]) -> str:
    """The fields in which two protocols differ, with both values; "" when there are none."""
    return "; ".join(
        f"{name} is {_said(one, name)} and {_said(two, name)}"
        for name in sorted(one.keys() | two.keys())
        if _said(one, name) != _said(two, name)
    )


def _said(protocol: dict[str, Any], name: str) -> str:
    return json.dumps(protocol[name], sort_keys=True) if name in protocol else "absent"
