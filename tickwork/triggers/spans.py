"""Spans of time in which a zone's clocks keep one offset from UTC.

Within a span, local arithmetic is UTC arithmetic; all that is special about a change of clocks is
written on the span that it begins: how many seconds of readings it skipped (`lost`), or how many
seconds it shows for the second time (`held`). Shifts of three hours or more are corrections, not
changes of clocks, and carry neither.

`zoneinfo` doesn't tell its transitions, so they are found by asking for offsets every two days and
halving. The closest two transitions that any zone ever had are 95 hours apart (Freetown 1939), so
none can hide between two questions. The answers are kept per block of about half a year; rules for
the far future are found like any other.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

from tickwork.triggers.base import MAX_S, MIN_S

__all__ = ["CORRECTION_S", "Span", "span_at"]

CORRECTION_S = 3 * 3600
"""A shift of this many seconds or more is a correction.

Source: Debian's cron 3.0pl1, cron(8): "Daylight Saving Time and other time changes".
"""

_BLOCK_BITS = 24
_STEP_S = 2 * 86_400
_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)


class Span(NamedTuple):
    """The seconds from `start` until before `end`, in which clocks are `offset` ahead of UTC."""

    start: int
    end: int
    offset: int
    lost: int = 0
    held: int = 0


def span_at(zone: tzinfo, second: int) -> Span:
    """Return the span of `zone` that holds an instant, given in seconds since the epoch.

    Long spans come in parts; only the first part carries `lost` and `held`.
    """
    if isinstance(zone, timezone):
        return _endless(zone)
    for span in _block(zone, second >> _BLOCK_BITS):
        if second < span.end:
            return span
    raise AssertionError("a block's spans cover it")  # pragma: no cover


@lru_cache(maxsize=256)
def _endless(zone: timezone) -> Span:
    offset = zone.utcoffset(None)
    return Span(MIN_S - _DAY_S, MAX_S + _DAY_S, offset.days * _DAY_S + offset.seconds)


@lru_cache(maxsize=4096)
def _block(zone: tzinfo, block: int) -> tuple[Span, ...]:
    # Looks back far enough for a second pass that began in the block before to end here.
    begin = (block << _BLOCK_BITS) - CORRECTION_S
    end = (block + 1) << _BLOCK_BITS
    spans = []
    start, offset, shift = begin, _offset(zone, begin - 1), 0
    for change, changed in _changes(zone, begin, end):
        spans.append(_span(start, change, offset, shift))
        start, offset, shift = change, changed, changed - offset
    spans.append(_span(start, end, offset, shift))
    return tuple(span for span in spans if span.start < span.end)


def _span(start: int, end: int, offset: int, shift: int) -> Span:
    if abs(shift) >= CORRECTION_S:
        return Span(start, end, offset)
    return Span(start, end, offset, lost=max(shift, 0), held=max(-shift, 0))


def _changes(zone: tzinfo, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield each second of [begin, end) at which the offset changes, with the new offset."""
    low, before = begin - 1, _offset(zone, begin - 1)
    while low < end - 1:
        high = min(low + _STEP_S, end - 1)
        after = _offset(zone, high)
        if after != before:
            yield _first_at(zone, low, high, after), after
        low, before = high, after


def _first_at(zone: tzinfo, low: int, high: int, offset: int) -> int:
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            high = middle
        else:
            low = middle
    return high


def _offset(zone: tzinfo, second: int) -> int:
    # A day's distance from both ends of the calendar keeps local readings on it.
    second = min(max(second, MIN_S + _DAY_S), MAX_S - _DAY_S)
    instant = (_NAIVE_EPOCH + timedelta(seconds=second)).replace(tzinfo=zone)
    offset = zone.fromutc(instant).utcoffset()
    assert offset is not None  # noqa: S101 - the zone is a ZoneInfo
    return offset.days * _DAY_S + offset.seconds
