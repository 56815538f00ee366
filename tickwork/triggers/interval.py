"""Intervals: elapsed time from an anchor.

The fire times are `origin + n * interval`, on instants, so that nothing drifts, a change of clocks
neither opens a gap nor makes a burst, and a restart doesn't shift the phase. With `start_at` the
first one (n = 0) is at the origin; with an anchor, which is where somebody started to wait, it is
one interval later (n = 1).
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Self

from tickwork.errors import InvalidTriggerError
from tickwork.model.instants import SECOND
from tickwork.triggers.base import MAX_S, Timetable, call_text, checked, read_jitter
from tickwork.triggers.durations import duration_text, interval_us, positive_us
from tickwork.triggers.moments import (
    moment_text,
    read_anchor,
    read_moment,
    settled,
    shown,
    us_of_moment,
)
from tickwork.triggers.zones import read_zone, zone_key

__all__ = ["IntervalTrigger", "require_order"]

_UNIT_S = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_LAST_US = MAX_S * SECOND + SECOND - 1


class IntervalTrigger(Timetable):
    """Fire every so often, counted as elapsed time from `start_at` or from an anchor.

    With `start_at` the first fire is at `start_at`; without, one interval after the anchor. While
    there is neither, the next fire is one interval after whatever instant is asked about. `end_at`
    is the last instant at which it may fire. `timezone` is where naive times are read; a date is
    its midnight.

    Raises:
        InvalidTriggerError: the interval isn't between 1 microsecond and 10,000 years, or the
            times can't be understood.
    """

    __slots__ = (
        "_end_us", "_first_us", "_origin_us", "anchor", "end_at", "interval_us", "start_at",
        "timezone",
    )  # fmt: skip

    kind: ClassVar[str] = "interval"
    interval_us: int
    start_at: datetime | None
    end_at: datetime | None
    anchor: datetime | None
    timezone: tzinfo | None
    _origin_us: int | None
    _first_us: int
    _end_us: int

    def __init__(
        self,
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        start_at: date | str | None = None,
        end_at: date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | timedelta | None = None,
    ) -> None:
        parts = {
            "weeks": weeks, "days": days, "hours": hours, "minutes": minutes, "seconds": seconds,
        }  # fmt: skip
        self._begin(
            _total_us(parts), start_at=start_at, end_at=end_at, zone=timezone, jitter=jitter
        )

    @classmethod
    def from_text(
        cls,
        interval: str | float | timedelta,
        *,
        start_at: date | str | None = None,
        end_at: date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | timedelta | None = None,
    ) -> Self:
        """Make a trigger from "1h", "30m", "90s", "2d", "1w", a number of seconds or a timedelta.

        Raises:
            InvalidTriggerError: it isn't an interval, or not a positive one.
        """
        trigger = object.__new__(cls)
        trigger._begin(
            interval_us(interval), start_at=start_at, end_at=end_at, zone=timezone, jitter=jitter
        )
        return trigger

    @property
    def interval(self) -> timedelta:
        """The time between two fires."""
        return timedelta(microseconds=self.interval_us)

    def anchored(self, at: datetime) -> Self:
        """Return this trigger counting from `at`; itself where it has a start or an anchor."""
        if self.start_at is not None or self.anchor is not None:
            return self
        return self._with(anchor=read_anchor(at))

    def in_timezone(self, zone: tzinfo | str) -> Self:
        """Return this trigger with its naive times read in `zone`; itself where it has none."""
        naive = (moment for moment in (self.start_at, self.end_at) if moment is not None)
        if self.timezone is not None or all(moment.tzinfo for moment in naive):
            return self
        return self._with(timezone=read_zone(zone))

    def next_us(self, after_us: int) -> int | None:
        """Return the first fire time strictly after `after_us`, or None for never."""
        origin = self._origin_us
        if origin is None:
            found = after_us + self.interval_us
        elif after_us < self._first_us:
            found = self._first_us
        else:
            period = self.interval_us
            found = after_us + period - (after_us - origin) % period
        return found if found <= self._end_us else None

    def last_us(self, at_us: int) -> int | None:
        """Return the last fire time at or before `at_us`, or None where there is none."""
        if self._origin_us is None:
            return None
        latest = min(at_us, self._end_us)
        if latest < self._first_us:
            return None
        return latest - (latest - self._origin_us) % self.interval_us

    def count_us(self, after_us: int, until_us: int) -> int:
        """Return how many fire times lie in (`after_us`, `until_us`]; 0 without an anchor."""
        if self._origin_us is None:
            return 0
        first = max(after_us, self._first_us - 1) - self._origin_us
        last = min(until_us, self._end_us) - self._origin_us
        return max(0, last // self.interval_us - first // self.interval_us)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make the trigger that `to_json` described.

        Raises:
            InvalidTriggerError: the data is of another kind or of an unknown version.
        """
        state = checked(cls, data)
        period_us = state.get("interval_us")
        if not isinstance(period_us, int) or isinstance(period_us, bool):
            raise InvalidTriggerError(f"Data of an interval without interval_us: {data!r}")
        trigger = object.__new__(cls)
        trigger._begin(
            positive_us(period_us, period_us),
            start_at=state.get("start_at"),
            end_at=state.get("end_at"),
            zone=state.get("timezone"),
            jitter=None,
        )
        return trigger._with(anchor=read_anchor(state.get("anchor")))

    def _begin(
        self, period_us: int, *, start_at: object, end_at: object, zone: object, jitter: object
    ) -> None:
        self._set(
            interval_us=period_us,
            start_at=read_moment(start_at, "start_at"),
            end_at=read_moment(end_at, "end_at"),
            anchor=None,
            timezone=read_zone(zone),
            jitter=read_jitter(jitter),
        )
        self._derive()

    def _derive(self) -> None:
        if self.timezone is not None:
            for name in ("start_at", "end_at"):
                if (moment := getattr(self, name)) is not None:
                    self._set(**{name: settled(moment, self.timezone, name)})
        require_order(self.start_at, self.end_at)
        origin = self.start_at or self.anchor
        origin_us = None if origin is None else us_of_moment(origin)
        wait_us = 0 if self.start_at else self.interval_us
        self._set(
            _origin_us=origin_us,
            _first_us=0 if origin_us is None else origin_us + wait_us,
            _end_us=us_of_moment(self.end_at) if self.end_at else _LAST_US,
        )

    def _state(self) -> dict[str, Any]:
        return {
            "interval_us": self.interval_us,
            "start_at": self.start_at and moment_text(self.start_at),
            "end_at": self.end_at and moment_text(self.end_at),
            "anchor": self.anchor and moment_text(self.anchor),
            "timezone": self.timezone and zone_key(self.timezone),
        }

    def _spelled(self) -> str:
        amount, unit = _largest_exact(self.interval_us)
        state = {**self._state(), "interval_us": None, "anchor": None}
        call = call_text("IntervalTrigger", {unit: amount, **state})
        return f"{call}.anchored({moment_text(self.anchor)!r})" if self.anchor else call

    def __str__(self) -> str:
        start = f" from {shown(self.start_at, self.timezone)}" if self.start_at else ""
        end = f" until {shown(self.end_at, self.timezone)}" if self.end_at else ""
        return f"every {duration_text(self.interval_us)}{start}{end}"


def require_order(start_at: datetime | None, end_at: datetime | None) -> None:
    """Refuse an end before the start, as far as both are known in the same way.

    Raises:
        InvalidTriggerError: `end_at` is before `start_at`.
    """
    if start_at is None or end_at is None or (start_at.tzinfo is None) != (end_at.tzinfo is None):
        return
    if end_at < start_at:
        raise InvalidTriggerError(f"end_at {end_at} is before start_at {start_at}: it never fires")


def _total_us(parts: Mapping[str, object]) -> int:
    total_us = sum(_part_us(name, value) for name, value in parts.items())
    return positive_us(total_us, ", ".join(f"{k}={v!r}" for k, v in parts.items() if v) or 0)


def _part_us(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTriggerError(f"{name} must be a number, not {value!r}")
    if value < 0:
        raise InvalidTriggerError(f"{name} must not be negative: {value!r}. Intervals are positive")
    if not value:
        return 0
    if isinstance(value, int):
        return positive_us(value * _UNIT_S[name] * SECOND, value)
    return interval_us(value * _UNIT_S[name])


def _largest_exact(period_us: int) -> tuple[int | float, str]:
    for unit, unit_s in _UNIT_S.items():
        if not period_us % (unit_s * SECOND):
            return period_us // (unit_s * SECOND), unit
    return period_us / SECOND, "seconds"
