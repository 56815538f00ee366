"""JSON text: compact, strict, and the same for the same data."""

import json
from typing import Any, NoReturn

__all__ = ["from_text", "has_tags", "to_text"]

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def to_text(data: Any) -> str:
    """Return JSON data as compact text, the same for the same data."""
    return _ENCODER.encode(data)


def from_text(text: str) -> Any:
    """Return the JSON data of a text.

    Raises:
        ValueError: the text isn't JSON.
        RecursionError: it is nested too deep.
    """
    return _DECODER.decode(text)


def has_tags(text: str) -> bool:
    """Tell whether the text of packed data may have tags in it; if not, it needs no unpacking."""
    return '"$' in text
