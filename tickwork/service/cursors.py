"""Places in lists, as texts that mean nothing to whom they are given.

A cursor says behind which item a page begins, by values and not by a number: what is added or
removed meanwhile neither repeats nor hides an item.
"""

import base64
import binascii
import json
from collections.abc import Sequence

from tickwork.errors import InvalidInputError

__all__ = ["make_cursor", "read_cursor"]


def make_cursor(*parts: str | int | None) -> str:
    """Return the cursor that stands for some values."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, kinds: Sequence[type | tuple[type, ...]]) -> list[str | int | None]:
    """Return the values that a cursor stands for, each of its kind.

    Raises:
        InvalidInputError: it is no cursor of such a list.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or len(parts) != len(kinds):
        raise _invalid(cursor)
    for part, kind in zip(parts, kinds, strict=True):
        if not isinstance(part, kind) or isinstance(part, bool) or _is_huge(part):
            raise _invalid(cursor)
    return parts


def _is_huge(part: object) -> bool:
    return isinstance(part, int) and abs(part) >= 2**63


def _invalid(cursor: str) -> InvalidInputError:
    return InvalidInputError(
        f"cursor={cursor[:40]!r} is none that this list gave; begin without one"
    )
