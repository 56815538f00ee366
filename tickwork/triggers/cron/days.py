"""Which days a schedule names, as bit masks over whole years.

A day's place in its month, its weekday and its ISO week depend on nothing but the weekday on which
the year begins, whether it is a leap year, and (for the week of the first days) whether the year
before was. That makes 21 kinds of years that occur. For each kind one integer has a bit for each
day of the year; finding the next day is a shift and a look at the lowest bit.
"""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

__all__ = ["FULL_DAYS", "FULL_MONTHS", "FULL_WEEKDAYS", "DayRule", "Days", "compiled_days"]

FULL_DAYS = (1 << 32) - 2
FULL_MONTHS = (1 << 13) - 2
FULL_WEEKDAYS = (1 << 7) - 1

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST_DAY = date.min.toordinal() - _EPOCH_DAY
_LAST_DAY = date.max.toordinal() - _EPOCH_DAY
_CYCLE_YEARS = 400
_WEEKS = sum(1 << (7 * week) for week in range(54))
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
LAST = -1
"""The place of a month's last weekday of a kind, beside 1 to 5."""


class DayRule(NamedTuple):
    """The days that a schedule names. Bits count from 0; weekday 0 is Monday.

    A day is named when its month, its ISO week and its year are, and its day of month and weekday
    are: both of them, or one of them where `either` is set.
    """

    months: int = FULL_MONTHS
    days: int = FULL_DAYS
    last_day: bool = False
    day_places: frozenset[tuple[int, int]] = frozenset()
    """(weekday, place) pairs that belong to the day of month: place is 1 to 5 or `LAST`."""
    weekdays: int = FULL_WEEKDAYS
    weekday_places: frozenset[tuple[int, int]] = frozenset()
    """The same pairs, belonging to the weekday."""
    either: bool = False
    weeks: int | None = None
    years: int | None = None

    def is_every_day(self) -> bool:
        """Tell whether no day at all is left out."""
        anything = self.days == FULL_DAYS, self.weekdays == FULL_WEEKDAYS
        return (
            self.months == FULL_MONTHS
            and (any(anything) if self.either else all(anything))
            and self.weeks is None
            and self.years is None
        )


class Days:
    """The days of a rule, counted from 1970-01-01; all questions are bounded."""

    __slots__ = ("_ahead", "_every", "_masks", "_years")

    def __init__(self, rule: DayRule) -> None:
        self._every = rule.is_every_day()
        self._years = rule.years
        masks = {kind: _year_mask(rule, *kind) for kind in set(_KINDS)}
        self._masks = tuple(masks[kind] for kind in _KINDS)
        self._ahead: dict[int, int | None] = {}
        """By year: the first day after it, once it was looked for. There are 9,999 years."""

    def next(self, day: int) -> int | None:
        """Return the first day at or after `day`, or None."""
        if self._every:
            return max(day, _FIRST_DAY) if day <= _LAST_DAY else None
        if day > _LAST_DAY:
            return None
        day = max(day, _FIRST_DAY)
        year = date.fromordinal(day + _EPOCH_DAY).year
        start = _year_start(year)
        if self._years is None or self._years >> year & 1:
            rest = self._masks[year % _CYCLE_YEARS] >> (day - start)
            if rest:
                return day + (rest & -rest).bit_length() - 1
        if year not in self._ahead:
            listed = self._years is not None
            self._ahead[year] = self._first_listed(year) if listed else self._first_after(year)
        return self._ahead[year]

    def previous(self, day: int) -> int | None:
        """Return the last day at or before `day`, or None."""
        if day < _FIRST_DAY:
            return None
        day = min(day, _LAST_DAY)
        if self._every:
            return day
        year = date.fromordinal(day + _EPOCH_DAY).year
        room = (1 << (day - _year_start(year) + 1)) - 1
        last = max(year - _CYCLE_YEARS, 0) if self._years is None else 0
        while year > last:
            if self._years is None or self._years >> year & 1:
                mask = self._masks[year % _CYCLE_YEARS] & room
                if mask:
                    return _year_start(year) + mask.bit_length() - 1
            year -= 1
            room = -1
        return None

    def count(self, begin: int, end: int) -> int:
        """Return how many days lie in [`begin`, `end`)."""
        begin, end = max(begin, _FIRST_DAY), min(end, _LAST_DAY + 1)
        if begin >= end:
            return 0
        if self._every:
            return end - begin
        first = date.fromordinal(begin + _EPOCH_DAY).year
        last = date.fromordinal(end - 1 + _EPOCH_DAY).year
        whole = sum(self._mask(year).bit_count() for year in range(first, last + 1))
        skipped = self._mask(first) & ((1 << (begin - _year_start(first))) - 1)
        beyond = self._mask(last) >> (end - _year_start(last))
        return whole - skipped.bit_count() - beyond.bit_count()

    def _mask(self, year: int) -> int:
        if self._years is not None and not self._years >> year & 1:
            return 0
        return self._masks[year % _CYCLE_YEARS]

    def _first_after(self, year: int) -> int | None:
        masks = self._masks
        for later in range(year + 1, min(year + _CYCLE_YEARS, 9999) + 1):
            if mask := masks[later % _CYCLE_YEARS]:
                return _year_start(later) + (mask & -mask).bit_length() - 1
        return None

    def _first_listed(self, year: int) -> int | None:
        years = (self._years or 0) >> (year + 1)
        while years:
            year += (years & -years).bit_length()
            if mask := self._masks[year % _CYCLE_YEARS]:
                return _year_start(year) + (mask & -mask).bit_length() - 1
            years = (self._years or 0) >> (year + 1)
        return None


@lru_cache(maxsize=512)
def compiled_days(rule: DayRule) -> Days:
    """Return the days of a rule; the same ones for the same rule, as they never change."""
    return Days(rule)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _year_start(year: int) -> int:
    """Return the first day of a year, counted from 1970-01-01."""
    past = year - 1
    return 365 * past + past // 4 - past // 100 + past // 400 + 1 - _EPOCH_DAY


def _kind(year: int) -> tuple[int, bool, bool]:
    first_weekday = (_year_start(year) + 3) % 7
    # Only a year that begins on a Saturday asks the year before for the number of its weeks.
    return first_weekday, _is_leap(year), first_weekday == 5 and _is_leap(year - 1)


# The calendar repeats after 400 years, which are a whole number of weeks.
_KINDS = tuple(_kind(2000 + year) for year in range(_CYCLE_YEARS))


def _year_mask(rule: DayRule, first_weekday: int, leap: bool, after_leap: bool) -> int:  # noqa: FBT001 - a kind of year
    mask = start = 0
    for month, length in enumerate(_LENGTHS, 1):
        days = length + (leap and month == 2)
        if rule.months >> month & 1:
            mask |= _month_mask(rule, (first_weekday + start) % 7, days) << start
        start += days
    if rule.weeks is not None:
        mask &= _week_mask(rule.weeks, first_weekday, leap=leap, after_leap=after_leap)
    return mask


@lru_cache(maxsize=4096)
def _month_mask(rule: DayRule, first_weekday: int, length: int) -> int:
    full = (1 << length) - 1
    of_month = rule.days >> 1 & full
    of_month |= _places_mask(rule.day_places, first_weekday, length)
    if rule.last_day:
        of_month |= 1 << (length - 1)
    of_week = _weekday_mask(rule.weekdays, first_weekday) & full
    of_week |= _places_mask(rule.weekday_places, first_weekday, length)
    return of_month | of_week if rule.either else of_month & of_week


def _weekday_mask(weekdays: int, first_weekday: int) -> int:
    turned = weekdays >> first_weekday | weekdays << (7 - first_weekday)
    return (turned & FULL_WEEKDAYS) * _WEEKS


def _places_mask(places: frozenset[tuple[int, int]], first_weekday: int, length: int) -> int:
    mask = 0
    for weekday, place in places:
        first = (weekday - first_weekday) % 7
        in_month = range(first, length, 7)
        if place == LAST:
            mask |= 1 << in_month[-1]
        elif place <= len(in_month):
            mask |= 1 << in_month[place - 1]
    return mask


def _week_mask(weeks: int, first_weekday: int, *, leap: bool, after_leap: bool) -> int:
    """Return the days of the year whose ISO week is in `weeks`. Source: ISO 8601."""
    mask = 0
    # Week 1 is the one with the first Thursday; `monday` is where it begins, maybe last year.
    monday = -first_weekday if first_weekday <= 3 else 7 - first_weekday
    if monday > 0 and weeks >> _weeks_before(first_weekday, after_leap=after_leap) & 1:
        mask |= (1 << monday) - 1
    count = 53 if first_weekday == 3 or (leap and first_weekday == 2) else 52
    for week in range(1, count + 2):
        number = week if week <= count else 1
        if weeks >> number & 1:
            begin = monday + 7 * (week - 1)
            mask |= (127 << begin) if begin >= 0 else (127 >> -begin)
    return mask & ((1 << (366 if leap else 365)) - 1)


def _weeks_before(first_weekday: int, *, after_leap: bool) -> int:
    """Return how many weeks the year before has, when this one begins from Friday to Sunday."""
    return 53 if first_weekday == 4 or (first_weekday == 5 and after_leap) else 52
