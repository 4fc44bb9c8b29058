"""JSON as the protocol means it: RFC 8259, no NaN, every complaint with the path of the field at fault."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}


class Malformed(ValueError):
    """A message that breaks the protocol; its text names the field."""


def said(value: object) -> str:
    """Say what a JSON value is, for a person."""
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def parse(text: str) -> dict[str, Any]:
    """Parse one JSON object; :class:`Malformed` for anything else, and for numbers that are not finite."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise Malformed(f"not JSON: {e}") from e
    if not isinstance(value, dict):
        raise Malformed(f"must be a JSON object, not {said(value)}")
    _finite(value, "")
    return value


def _finite(value: object, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(f"{path} is {number(value)}, which JSON does not have")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise Malformed(f"{path} does not fit a 64-bit float")
    if isinstance(value, dict):
        for k, v in value.items():
            _finite(v, join(path, k))
    if isinstance(value, list):
        for i, v in enumerate(value):
            _finite(v, f"{path}[{i}]")


def number(value: float) -> str:
    """The name of a number that is not finite, as JSON dialects spell it."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def take(obj: dict[str, Any], name: str, kind: type, path: str = "", default: Any = ...) -> Any:
    """Take a field of a type; float accepts whole numbers too, int only those. Absent with no default is an error."""
    at = join(path, name)
    if name not in obj:
        if default is ...:
            raise Malformed(f"{at} is missing")
        return default
    return check(obj[name], kind, at)


def check(value: Any, kind: type, at: str) -> Any:
    number_wanted = kind in (int, float)
    right = isinstance(value, (int, float)) if number_wanted else isinstance(value, kind)
    if not right or (number_wanted and isinstance(value, bool)):
        raise Malformed(f"{at} must be {_NAMES[kind]}, not {said(value)}")
    if kind is int:
        if value != int(value):
            raise Malformed(f"{at} must be a whole number, not {value}")
        return int(value)
    return float(value) if kind is float else value


def strings(obj: dict[str, Any], name: str, path: str = "") -> dict[str, str]:
    """Take an optional object of strings."""
    at = join(path, name)
    return {k: check(v, str, join(at, k)) for k, v in take(obj, name, dict, path, {}).items()}
