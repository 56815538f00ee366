"""Calendar intervals: every so many years, months, weeks and days, at one time of day.

From one date to the next, years and months are added first, keeping the day of the month; where
that makes no date (February 30) they are added again until it does. Then weeks and days are added.
Source: APScheduler 4, `CalendarIntervalTrigger`. Changes of clocks follow `wallclock`: where
APScheduler drops a date whose time of day is skipped, this one fires right after the gap.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, ClassVar, Self

from tickwork.errors import InvalidTriggerError
from tickwork.triggers.base import call_text, checked, read_jitter
from tickwork.triggers.dates import LAST_DAY, DatedReadings, Step, dates_from, day_of
from tickwork.triggers.moments import moment_text, read_anchor, read_date, us_of_moment
from tickwork.triggers.walled import WallClockTrigger
from tickwork.triggers.zones import read_zone, zone_key

__all__ = ["CalendarIntervalTrigger"]

_UNITS = ("years", "months", "weeks", "days")
_TIMES = {"hour": 23, "minute": 59, "second": 59}
_LONGEST = 4_000_000


class CalendarIntervalTrigger(WallClockTrigger):
    """Fire every so many years, months, weeks and days, at one time of day.

    The first date is `start_date`; without it, the date of the anchor (where the time of day is
    over by then, the next date in the sequence); without either, it never fires. `end_date` is the
    last date on which it may fire. Dates that don't exist are skipped.

    Raises:
        InvalidTriggerError: the interval is shorter than a day, or something can't be understood.
    """

    __slots__ = (
        "anchor", "days", "end_date", "hour", "minute", "months", "second", "start_date", "weeks",
        "years",
    )  # fmt: skip

    kind: ClassVar[str] = "calendar"
    years: int
    months: int
    weeks: int
    days: int
    hour: int
    minute: int
    second: int
    start_date: date | None
    end_date: date | None
    anchor: datetime | None

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hour: int = 0,
        minute: int = 0,
        second: int = 0,
        start_date: date | str | None = None,
        end_date: date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | timedelta | None = None,
    ) -> None:
        steps = {"years": years, "months": months, "weeks": weeks, "days": days}
        times = {"hour": hour, "minute": minute, "second": second}
        self._set(
            **{name: _whole(name, value, _LONGEST) for name, value in steps.items()},
            **{name: _whole(name, value, _TIMES[name]) for name, value in times.items()},
            start_date=read_date(start_date, "start_date"),
            end_date=read_date(end_date, "end_date"),
            anchor=None,
            timezone=read_zone(timezone),
            jitter=read_jitter(jitter),
        )
        if not any(steps.values()):
            raise InvalidTriggerError("A calendar interval needs years, months, weeks or days")
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise InvalidTriggerError(
                f"end_date {self.end_date} is before start_date {self.start_date}: it never fires"
            )
        self._derive()

    def anchored(self, at: datetime) -> Self:
        """Return this trigger beginning on the date of `at`; itself where it has a start."""
        if self.start_date is not None or self.anchor is not None:
            return self
        return self._with(anchor=read_anchor(at))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make the trigger that `to_json` described.

        Raises:
            InvalidTriggerError: the data is of another kind or of an unknown version.
        """
        state = checked(cls, data)
        numbers = {name: state.get(name, 0) for name in (*_UNITS, *_TIMES)}
        trigger = cls(
            **numbers,
            start_date=state.get("start_date"),
            end_date=state.get("end_date"),
            timezone=state.get("timezone"),
        )
        return trigger._with(anchor=read_anchor(state.get("anchor")))

    def _derive(self) -> None:
        start = self.start_date
        if start is None and self.anchor is not None:
            start = self.anchor.astimezone(self.timezone or UTC).date()
        if start is None:
            self._read(None, fixed=True)
            return
        step = Step(12 * self.years + self.months, 7 * self.weeks + self.days)
        last_day = day_of(self.end_date) if self.end_date else LAST_DAY
        past = (self.hour * 60 + self.minute) * 60 + self.second
        start_us = us_of_moment(self.anchor) if self.anchor else None
        readings = DatedReadings(dates_from(start, step, last_day), past)
        self._read(readings, fixed=True, start_us=start_us)

    def _state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) or None for name in (*_UNITS, *_TIMES)},
            "start_date": self.start_date and self.start_date.isoformat(),
            "end_date": self.end_date and self.end_date.isoformat(),
            "anchor": self.anchor and moment_text(self.anchor),
            "timezone": self.timezone and zone_key(self.timezone),
        }

    def _spelled(self) -> str:
        call = call_text("CalendarIntervalTrigger", {**self._state(), "anchor": None})
        return f"{call}.anchored({moment_text(self.anchor)!r})" if self.anchor else call

    def __str__(self) -> str:
        steps = ((getattr(self, name), name) for name in _UNITS)
        every = " and ".join(f"{n} {name}" if n > 1 else name[:-1] for n, name in steps if n)
        exact = "auto" if self.second else "minutes"
        at = time(self.hour, self.minute, self.second).isoformat(exact)
        start = f" from {self.start_date}" if self.start_date else ""
        end = f" until {self.end_date}" if self.end_date else ""
        zone = f" ({zone_key(self.timezone)})" if self.timezone else ""
        return f"every {every} at {at}{start}{end}{zone}"


def _whole(name: str, value: object, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        shown = repr(value) if not isinstance(value, int) or value.bit_length() < 200 else "that"
        raise InvalidTriggerError(f"{name} must be a whole number from 0 to {largest}, not {shown}")
    return value
