"""Triggers that read wall clocks: their zone, their bounds, and seconds as microseconds.

Until a zone is known the clock is UTC's.
"""

from datetime import UTC, tzinfo
from typing import Self

from tickwork.model.instants import SECOND
from tickwork.triggers.base import MAX_S, MIN_S, Timetable
from tickwork.triggers.wallclock import Readings, WallClock
from tickwork.triggers.zones import read_zone

__all__ = ["WallClockTrigger"]


class WallClockTrigger(Timetable):
    """Fires at readings of a wall clock, from `_first` to `_last` (both seconds, inclusive)."""

    __slots__ = ("_clock", "_first", "_last", "timezone")

    timezone: tzinfo | None
    _clock: WallClock | None
    _first: int
    _last: int

    def in_timezone(self, zone: tzinfo | str) -> Self:
        """Return this trigger reading in `zone`; itself where it has a time zone of its own."""
        return self if self.timezone is not None else self._with(timezone=read_zone(zone))

    def next_us(self, after_us: int) -> int | None:
        """Return the first fire time strictly after `after_us`, or None for never."""
        second = max(after_us // SECOND + 1, self._first)
        if self._clock is None or second > self._last:
            return None
        found = self._clock.next(second)
        return None if found is None or found > self._last else found * SECOND

    def last_us(self, at_us: int) -> int | None:
        """Return the last fire time at or before `at_us`, or None where there is none."""
        second = min(at_us // SECOND, self._last)
        if self._clock is None or second < self._first:
            return None
        found = self._clock.previous(second)
        return None if found is None or found < self._first else found * SECOND

    def count_us(self, after_us: int, until_us: int) -> int:
        """Return how many fire times lie in (`after_us`, `until_us`]."""
        if self._clock is None:
            return 0
        first = max(after_us // SECOND + 1, self._first)
        return self._clock.count(first, min(until_us // SECOND, self._last))

    def _read(
        self,
        readings: Readings | None,
        *,
        fixed: bool,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> None:
        """Set the clock (None: never fires) and its bounds, rounded inwards to whole seconds."""
        clock = None if readings is None else WallClock(readings, self.timezone or UTC, fixed=fixed)
        first = MIN_S if start_us is None else -(-start_us // SECOND)
        last = MAX_S if end_us is None else end_us // SECOND
        self._set(_clock=clock, _first=first, _last=last)
