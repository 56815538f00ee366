"""The readings of a cron schedule: named days, each with the same times of day.

The times are a mask of 1,440 minutes of the day and one of 60 seconds of the minute. The next one
is found by shifting the past away and looking at the lowest bit, the last one by cutting the
future off and looking at the highest.
"""

from tickwork.triggers.cron.days import Days

__all__ = ["CronReadings"]

_DAY_S = 86_400


class CronReadings:
    """The local seconds that a cron schedule names."""

    __slots__ = ("_days", "_first", "_first_second", "_last", "_last_second", "_minutes",
                 "_per_day", "_seconds")  # fmt: skip

    def __init__(self, days: Days, hours: int, minutes: int, seconds: int) -> None:
        self._days = days
        self._seconds = seconds
        self._minutes = sum(minutes << (60 * hour) for hour in range(24) if hours >> hour & 1)
        self._first_second = _lowest(seconds)
        self._last_second = seconds.bit_length() - 1
        self._first = _lowest(self._minutes) * 60 + self._first_second
        self._last = (self._minutes.bit_length() - 1) * 60 + self._last_second
        self._per_day = self._minutes.bit_count() * seconds.bit_count()

    def next(self, at: int) -> int | None:
        """Return the first reading at or after `at`, or None."""
        day, past = divmod(at, _DAY_S)
        if past > self._last:
            day, past = day + 1, 0
        found = self._days.next(day)
        if found is None:
            return None
        if found != day or past <= self._first:
            return found * _DAY_S + self._first
        minute, second = divmod(past, 60)
        rest = self._minutes >> minute
        if rest & 1 and second <= self._last_second:
            return at + _lowest(self._seconds >> second)
        rest &= -2
        return day * _DAY_S + (minute + (rest & -rest).bit_length() - 1) * 60 + self._first_second

    def previous(self, at: int) -> int | None:
        """Return the last reading at or before `at`, or None."""
        day, past = divmod(at, _DAY_S)
        if past < self._first:
            day, past = day - 1, _DAY_S - 1
        found = self._days.previous(day)
        if found is None:
            return None
        if found != day or past >= self._last:
            return found * _DAY_S + self._last
        minute, second = divmod(past, 60)
        if self._minutes >> minute & 1 and second >= self._first_second:
            return at - second + (self._seconds & ((2 << second) - 1)).bit_length() - 1
        earlier = (self._minutes & ((1 << minute) - 1)).bit_length() - 1
        return day * _DAY_S + earlier * 60 + self._last_second

    def count(self, begin: int, end: int) -> int:
        """Return how many readings lie in [`begin`, `end`)."""
        first, begin_past = divmod(begin, _DAY_S)
        last, end_past = divmod(end, _DAY_S)
        found = self._days.count(first, last) * self._per_day
        if begin_past and self._days.next(first) == first:
            found -= self._before(begin_past)
        if end_past and self._days.next(last) == last:
            found += self._before(end_past)
        return found

    def _before(self, past: int) -> int:
        """Return how many of a day's readings lie before `past` seconds of it."""
        minute, second = divmod(past, 60)
        full = (self._minutes & ((1 << minute) - 1)).bit_count() * self._seconds.bit_count()
        if not self._minutes >> minute & 1:
            return full
        return full + (self._seconds & ((1 << second) - 1)).bit_count()


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
