"""Looking for the largest number that goes well: up by half, down to half, then in between."""

from collections.abc import Mapping
from math import sqrt

__all__ = ["largest", "next_number"]

_UP = 1.5
_DOWN = 2.0
_CLOSE = 1.1
_LEAST = 10


def largest(tried: Mapping[int, bool]) -> int:
    """Return the largest number that went well with none below it that didn't; 0 if none did."""
    first_bad = min((number for number, well in tried.items() if not well), default=None)
    return max(
        (n for n, well in tried.items() if well and (first_bad is None or n < first_bad)), default=0
    )


def next_number(tried: Mapping[int, bool], first: int) -> int | None:
    """Return what to try next, or None where the limit is known to a tenth."""
    if not tried:
        return first
    good = largest(tried)
    bad = min((number for number, well in tried.items() if not well), default=None)
    if bad is None:
        return int(good * _UP)
    if good == 0:
        return int(bad / _DOWN) if bad / _DOWN >= _LEAST else None
    between = int(sqrt(good * bad))
    return between if bad / good > _CLOSE and between > good else None
