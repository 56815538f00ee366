"""From readings of a wall clock to instants: the rule for changes of clocks.

`Readings` say which local seconds a schedule names; they know nothing of zones. `WallClock` turns
them into instants. The reference is Debian's cron (3.0pl1); any other result is a bug.

- A *fixed* schedule: a reading lost in a gap of less than three hours fires once, at the first
  instant after the gap, together with whatever else is due then. A reading that occurs twice fires
  the first time only, also for those who start to look in the second pass.
- A *wildcard* schedule fires at every instant whose reading matches.
- A shift of three hours or more is a correction: nothing is made up, nothing held back.

The search walks along the spans of constant offset. Where the next match is far away, it jumps
close to it: no reading can lie more than a day off its instant.
"""

from datetime import timezone, tzinfo
from typing import Protocol

from tickwork.triggers.spans import Span, span_at

__all__ = ["Readings", "WallClock"]

_DAY_S = 86_400
_FAR_S = 2 * _DAY_S
# Zones and the calendar repeat every 400 years, zones from their last explicit transition on.
_CYCLE_S = 401 * 366 * _DAY_S
_LAST_RULE_S = 1 << 32


class Readings(Protocol):
    """A set of local seconds, counted from 1970-01-01 00:00 on the local clock."""

    def next(self, at: int) -> int | None:
        """Return the first reading at or after `at`, or None."""

    def previous(self, at: int) -> int | None:
        """Return the last reading at or before `at`, or None."""

    def count(self, begin: int, end: int) -> int:
        """Return how many readings lie in [`begin`, `end`)."""


class WallClock:
    """The instants of `readings` in `zone`, in whole seconds since the epoch."""

    __slots__ = ("_offset", "fixed", "readings", "zone")

    def __init__(self, readings: Readings, zone: tzinfo, *, fixed: bool) -> None:
        self.readings = readings
        self.zone = zone
        self.fixed = fixed
        # Where clocks never change, as in UTC, there is but one span.
        self._offset = span_at(zone, 0).offset if isinstance(zone, timezone) else None

    def next(self, second: int) -> int | None:
        """Return the first instant at or after `second`, or None."""
        if self._offset is not None:
            reading = self.readings.next(second + self._offset)
            return None if reading is None else reading - self._offset
        limit = max(second, _LAST_RULE_S) + _CYCLE_S
        following = self.readings.next
        while second < limit:
            start, end, offset, lost, held = span = span_at(self.zone, second)
            if self.fixed and (lost or held):
                if second <= start and self._made_up(span):
                    return start
                second = max(second, min(start + held, end))
            reading = following(second + offset)
            if reading is not None and reading - offset < end:
                return reading - offset
            if end - second < _FAR_S:
                second = end
            elif reading is None:
                return None
            else:
                # No reading before this one matches, and clocks can't go back to before `second`.
                second = max(end, reading - _DAY_S)
        return None

    def previous(self, second: int) -> int | None:
        """Return the last instant at or before `second`, or None."""
        limit = min(second, _LAST_RULE_S) - _CYCLE_S
        while second > limit:
            span = span_at(self.zone, second)
            begin = span.start + span.held if self.fixed else span.start
            reading = self.readings.previous(second + span.offset)
            if reading is not None and second >= begin and reading - span.offset >= begin:
                return reading - span.offset
            if self._made_up(span):
                return span.start
            if second - span.start < _FAR_S:
                second = span.start - 1
            elif reading is None:
                return None
            else:
                second = min(span.start - 1, reading + _DAY_S)
        return None

    def count(self, first: int, last: int) -> int:
        """Return how many instants lie in [`first`, `last`]."""
        found = 0
        second = first
        while second <= last:
            span = span_at(self.zone, second)
            stop = min(span.end, last + 1)
            if second == span.start and self._made_up(span) and not self._named(span):
                found += 1
            begin = max(second, span.start + span.held) if self.fixed else second
            if begin < stop:
                found += self.readings.count(begin + span.offset, stop + span.offset)
            second = stop
        return found

    def _made_up(self, span: Span) -> bool:
        """Tell whether a reading was lost that fires at the start of `span`."""
        if not (self.fixed and span.lost):
            return False
        after_gap = span.start + span.offset
        reading = self.readings.next(after_gap - span.lost)
        return reading is not None and reading < after_gap

    def _named(self, span: Span) -> bool:
        """Tell whether the reading at the start of `span` is one of its own."""
        after_gap = span.start + span.offset
        return self.readings.next(after_gap) == after_gap
