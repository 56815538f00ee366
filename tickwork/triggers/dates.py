"""Sequences of dates: by days, by months, or by both, and one time of day on each of them.

Days alone, or months alone, are arithmetic. Both together drift through the months, so that a date
is only known from the one before; such a sequence is walked from its start (about a microsecond a
date). All days count from 1970-01-01, all months from the year 0.
"""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple, Protocol

__all__ = ["LAST_DAY", "DatedReadings", "Dates", "Step", "dates_from", "day_of"]

_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
LAST_DAY = date.max.toordinal() - _EPOCH_DAY
"""The last day that a date can show."""


class Dates(Protocol):
    """An increasing sequence of days."""

    def next(self, day: int) -> int | None:
        """Return the first day at or after `day`, or None."""

    def previous(self, day: int) -> int | None:
        """Return the last day at or before `day`, or None."""

    def count(self, begin: int, end: int) -> int:
        """Return how many days lie in [`begin`, `end`)."""


class Step(NamedTuple):
    """How far it is from one date to the next; months are added before days."""

    months: int
    days: int


class _ByDays:
    """The dates `start + n * step` in days; all dates count from 1970-01-01."""

    def __init__(self, start: int, step: int, last: int) -> None:
        self.start, self.step, self.last = start, step, last

    def next(self, day: int) -> int | None:
        found = max(day + (self.start - day) % self.step, self.start)
        return found if found <= self.last else None

    def previous(self, day: int) -> int | None:
        day = min(day, self.last)
        return None if day < self.start else day - (day - self.start) % self.step

    def count(self, begin: int, end: int) -> int:
        first, last = max(begin, self.start) - 1, min(end - 1, self.last)
        places = (last - self.start) // self.step - (first - self.start) // self.step
        return max(0, places)


class _ByMonths:
    """The dates with the start's day of month, every `step` months, as far as they exist."""

    def __init__(self, start: date, step: int, last: int) -> None:
        self.start, self.step, self.last = start.year * 12 + start.month - 1, step, last
        self.day = start.day

    def next(self, day: int) -> int | None:
        found = next(self._from(max(day, self._first())), None)
        return found if found is not None and found <= self.last else None

    def previous(self, day: int) -> int | None:
        day = min(day, self.last)
        month = self._month_of(max(day, self._first()))
        month -= (month - self.start) % self.step
        while month >= self.start:
            found = _existing(month, self.day)
            if found is not None and found <= day:
                return found
            month -= self.step
        return None

    def count(self, begin: int, end: int) -> int:
        end = min(end, self.last + 1)
        found = 0
        for day in self._from(max(begin, self._first())):
            if day >= end:
                break
            found += 1
        return found

    def _from(self, day: int) -> Iterator[int]:
        month = self._month_of(day)
        month += (self.start - month) % self.step
        while month < 12 * 10_000:
            found = _existing(month, self.day)
            if found is not None and found >= day:
                yield found
            month += self.step

    def _first(self) -> int:
        return day_of(date(self.start // 12, self.start % 12 + 1, self.day))

    @staticmethod
    def _month_of(day: int) -> int:
        on = date.fromordinal(min(day, LAST_DAY) + _EPOCH_DAY)
        return on.year * 12 + on.month - 1


class _Walked:
    """The dates of a step of months and days, each found from the one before."""

    def __init__(self, start: date, step: Step, last: int) -> None:
        self.start, self.step, self.last = start, step, last

    def next(self, day: int) -> int | None:
        return next((found for found in self._all() if found >= day), None)

    def previous(self, day: int) -> int | None:
        latest = None
        for found in self._all():
            if found > day:
                break
            latest = found
        return latest

    def count(self, begin: int, end: int) -> int:
        found = 0
        for day in self._all():
            if day >= end:
                break
            found += day >= begin
        return found

    def _all(self) -> Iterator[int]:
        day: int | None = day_of(self.start)
        on = self.start
        while day is not None and day <= self.last:
            yield day
            month = on.year * 12 + on.month - 1 + self.step.months
            while (day := _existing(month, on.day)) is None and month < 12 * 10_000:
                month += self.step.months
            if day is not None and (day := day + self.step.days) <= LAST_DAY:
                on = date.fromordinal(day + _EPOCH_DAY)


class DatedReadings:
    """One time of day on each of some dates."""

    def __init__(self, dates: Dates, past: int) -> None:
        self._dates, self._past = dates, past

    def next(self, at: int) -> int | None:
        day = self._dates.next(-(-(at - self._past) // _DAY_S))
        return None if day is None else day * _DAY_S + self._past

    def previous(self, at: int) -> int | None:
        day = self._dates.previous((at - self._past) // _DAY_S)
        return None if day is None else day * _DAY_S + self._past

    def count(self, begin: int, end: int) -> int:
        first = -(-(begin - self._past) // _DAY_S)
        return self._dates.count(first, -(-(end - self._past) // _DAY_S))


def dates_from(start: date, step: Step, last: int) -> Dates:
    """Return the dates from `start` on, up to and including the day `last`."""
    if not step.months:
        return _ByDays(day_of(start), step.days, last)
    if not step.days:
        return _ByMonths(start, step.months, last)
    return _Walked(start, step, last)


def day_of(on: date) -> int:
    """Return a date as days since 1970-01-01."""
    return on.toordinal() - _EPOCH_DAY


def _existing(month: int, day: int) -> int | None:
    """Return the date with this day of a month, counted in months from the year 0, or None."""
    try:
        return day_of(date(month // 12, month % 12 + 1, day))
    except (ValueError, OverflowError):
        return None
