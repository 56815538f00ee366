"""Instants as integers: microseconds since 1970-01-01 UTC.

Stores, planner and loop compute with integers, which are exact, cheap and sort the same in every
store; people and triggers see aware datetimes in UTC. Only these two functions convert.
"""

from datetime import UTC, datetime, timedelta

__all__ = ["SECOND", "from_us", "to_us", "us_of"]

SECOND = 1_000_000
"""One second, in microseconds."""

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
