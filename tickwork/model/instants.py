"""Instants as integers: microseconds since 1970-01-01 UTC.

Stores, planner and loop compute with integers, which are exact, cheap and sort the same in every
store; people and triggers see aware datetimes in UTC. Only these functions convert.
"""

from datetime import UTC, datetime, timedelta
from math import isfinite

from tickwork.errors import InvalidInputError

__all__ = ["NEVER_US", "SECOND", "from_us", "read_seconds", "to_us", "us_of"]

SECOND = 1_000_000
"""One second, in microseconds."""

NEVER_US = 1 << 63
"""An instant after all others."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Return the microseconds from the epoch to an aware `moment`."""
    gap = moment - _EPOCH
    return (gap.days * _DAY_S + gap.seconds) * SECOND + gap.microseconds


def from_us(instant_us: int) -> datetime:
    """Return the aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=instant_us)


def us_of(duration: timedelta) -> int:
    """Return a duration in microseconds, exactly."""
    return duration // _MICROSECOND


_LONGEST_S = 366 * _DAY_S


def read_seconds(name: str, value: object) -> int:
    """Return a positive number of seconds, a year at most, as microseconds.

    Raises:
        InvalidInputError: it is no such number; the message calls it `name`.
    """
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
    if not isfinite(number) or number <= 0:
        raise InvalidInputError(f"{name}={value!r} must be a number of seconds greater than 0")
    if number > _LONGEST_S:
        raise InvalidInputError(f"{name}={value!r} must be a year at most, {_LONGEST_S} seconds")
    return max(1, round(number * SECOND))
