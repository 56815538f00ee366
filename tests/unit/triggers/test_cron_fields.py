"""The keyword form of cron: the grammar, the defaults of missing fields, and what is refused."""

import calendar
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.triggers.test_clock_changes import fires_within
from tickwork.errors import InvalidTriggerError
from tickwork.triggers import CronTrigger

START = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


def first_fires(trigger: CronTrigger, n: int) -> list[str]:
    fires = fires_within(trigger, START, datetime(2300, 1, 1, tzinfo=UTC))
    return [f"{fire:%Y-%m-%d %H:%M:%S}" for fire in islice(fires, n)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"hour": 8}, ["2026-01-01 08:00:00", "2026-01-02 08:00:00"]),
        ({"minute": "*/20"}, ["2026-01-01 00:00:00", "2026-01-01 00:20:00"]),
        ({"second": "15,45"}, ["2026-01-01 00:00:15", "2026-01-01 00:00:45"]),
        ({"month": "feb"}, ["2026-02-01 00:00:00", "2027-02-01 00:00:00"]),
        ({"year": 2028}, ["2028-01-01 00:00:00"]),
        ({"year": "2028", "day": "*", "month": 2}, ["2028-02-01 00:00:00", "2028-02-02 00:00:00"]),
        ({"day": "last"}, ["2026-01-31 00:00:00", "2026-02-28 00:00:00"]),
        ({"day": "15, last"}, ["2026-01-15 00:00:00", "2026-01-31 00:00:00"]),
        ({"day": "2nd fri", "hour": 9}, ["2026-01-09 09:00:00", "2026-02-13 09:00:00"]),
        ({"day": "last sun"}, ["2026-01-25 00:00:00", "2026-02-22 00:00:00"]),
        ({"day": "5th thu"}, ["2026-01-29 00:00:00", "2026-04-30 00:00:00"]),
        ({"day": "1st mon,3rd mon"}, ["2026-01-05 00:00:00", "2026-01-19 00:00:00"]),
        ({"day_of_week": 0}, ["2026-01-05 00:00:00", "2026-01-12 00:00:00"]),
        ({"day_of_week": "SUN"}, ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ({"day_of_week": "fri-mon"}, ["2026-01-02 00:00:00", "2026-01-03 00:00:00"]),
        ({"month": "nov-feb/1"}, None),
        ({"month": "nov-feb"}, ["2026-01-01 00:00:00", "2026-02-01 00:00:00"]),
        ({"day": 13, "day_of_week": "fri"}, ["2026-02-13 00:00:00", "2026-03-13 00:00:00"]),
        ({"week": 1}, ["2026-01-01 00:00:00", "2026-01-02 00:00:00"]),
        ({"week": 53, "day_of_week": "mon"}, ["2026-12-28 00:00:00", "2032-12-27 00:00:00"]),
        ({"hour": "8-18/4", "minute": 30}, ["2026-01-01 08:30:00", "2026-01-01 12:30:00"]),
        ({"hour": "20/2"}, ["2026-01-01 20:00:00", "2026-01-01 22:00:00"]),
        ({"month": 2, "day": 29}, ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ({"year": "*/10"}, ["2030-01-01 00:00:00", "2040-01-01 00:00:00"]),
    ],
)
def test_fields_name_these_times(fields: dict[str, Any], expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(InvalidTriggerError, match="wraps around and has a step"):
            CronTrigger(**fields)
        return
    assert first_fires(CronTrigger(**fields), len(expected)) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hour": 24}, "24 is not from 0 to 23"),
        ({"minute": "99"}, "99 is not from 0 to 59"),
        ({"hour": "*/0"}, "step 0 must be"),
        ({"minute": "*/90"}, "step 90 must be from 1 to 59; for longer times"),
        ({"minute": "5-1"}, "runs backwards"),
        ({"day_of_week": "4-0"}, "runs backwards"),
        ({"day_of_week": 7}, "7 is not from 0 to 6 .*|7 is not from 0 to 6"),
        ({"day_of_week": "monday"}, "'monday' is not known.*mon-sun"),
        ({"month": "jänner"}, "can't be understood"),
        ({"day": "6th fri"}, "can't be understood"),
        ({"day": "2nd foo"}, "'foo' is no weekday"),
        ({"hour": "2nd fri"}, "belongs to the field day"),
        ({"day": 30, "month": 2}, "never fires"),
        ({"day": 31, "month": "4,6,9,11"}, "never fires"),
        ({"year": 2027, "month": 2, "day": 29}, "never fires"),
        ({"week": 10, "month": 12}, "never fires"),
        ({"year": 1969}, "1969 is not from 1970 to 9999"),
        ({"hour": True}, "hour must be a number or a text, not True"),
        ({"hour": 8.0}, "hour must be a number or a text, not 8.0"),
        ({"hour": b"8"}, "hour must be a number or a text"),
        ({"hour": ""}, "can't be understood"),
        ({"hour": "1,,2"}, "can't be understood"),
        ({"hour": "-1"}, "can't be understood"),
        ({"hour": 10**400}, "hour must be from 0 to 23"),
        ({"hour": "1" * 5000}, "can't be understood"),
        ({}, "at least one of year, month"),
        ({"hour": 8, "start_at": "2026-02-01", "end_at": "2026-01-01"}, "is before start_at"),
        ({"hour": 8, "end_at": "2026-01-01", "start_at": "2025-12-31 09:00"}, "never fires"),
        ({"hour": 8, "start_at": "2026-13-01"}, "start_at must be a datetime"),
        ({"hour": 8, "start_at": 5}, "start_at must be a datetime"),
        ({"hour": 8, "timezone": "Mars/Base"}, "Unknown time zone: 'Mars/Base'"),
        ({"hour": 8, "jitter": -1}, "jitter must be"),
    ],
)
def test_bad_fields_are_refused_with_the_reason(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTriggerError, match=message):
        CronTrigger(**fields)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="minuts"):
        CronTrigger(minuts=5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"hour": 8}, {"hour": "08", "minute": 0, "second": "0"}),
        ({"day_of_week": "0-4"}, {"day_of_week": "MON-fri", "week": "*"}),
        ({"month": 12}, {"month": "dec", "day": 1}),
        ({"minute": "*"}, {"hour": "*", "minute": "*", "second": 0}),
        ({"day": "1, 15"}, {"day": "1,15,1"}),
    ],
)
def test_spellings_of_one_schedule_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert CronTrigger(**one) == CronTrigger(**other)
    assert CronTrigger(**one).to_json() == CronTrigger(**other).to_json()
    assert hash(CronTrigger(**one)) == hash(CronTrigger(**other))


def test_bounds_are_inclusive_and_read_in_the_time_zone() -> None:
    trigger = CronTrigger(
        hour=8, start_at="2026-01-02 08:00", end_at="2026-01-04 08:00", timezone="Europe/Berlin"
    )
    fires = list(fires_within(trigger, START, datetime(2027, 1, 1, tzinfo=UTC)))
    assert fires == [datetime(2026, 1, day, 7, tzinfo=UTC) for day in (2, 3, 4)]
    assert trigger.count_between(START, datetime(2027, 1, 1, tzinfo=UTC)) == 3
    assert trigger.last_fire_time(datetime(2027, 1, 1, tzinfo=UTC)) == fires[-1]
    assert trigger.last_fire_time(fires[0] - timedelta(seconds=1)) is None


MATCHERS: dict[str, Callable[[date, int], bool]] = {
    "year": lambda d, v: d.year == v,
    "month": lambda d, v: d.month == v,
    "day": lambda d, v: d.day == v,
    "week": lambda d, v: d.isocalendar()[1] == v,
    "day_of_week": lambda d, v: d.weekday() == v,
}
RANGES = {
    "year": (2020, 2030),
    "month": (1, 12),
    "day": (1, 31),
    "week": (1, 53),
    "day_of_week": (0, 6),
}
some_days = st.fixed_dictionaries(
    {},
    optional={
        name: st.sets(st.integers(*bounds), min_size=1, max_size=12)
        for name, bounds in RANGES.items()
    },
).filter(bool)


@settings(max_examples=150, deadline=None)
@given(some_days, st.dates(date(2019, 1, 1), date(2030, 1, 1)))
def test_a_day_must_match_every_field(chosen: dict[str, set[int]], start: date) -> None:
    texts = {name: ",".join(map(str, sorted(values))) for name, values in chosen.items()}
    days = [start + timedelta(days=n) for n in range(800)]
    expected = [
        datetime(day.year, day.month, day.day, tzinfo=UTC)
        for day in days
        if all(any(MATCHERS[n](day, v) for v in values) for n, values in chosen.items())
    ]
    begin = datetime(start.year, start.month, start.day, tzinfo=UTC) - timedelta(seconds=1)
    end = begin + timedelta(days=800)
    try:
        trigger = CronTrigger(**{"day": "*", "hour": 0, **texts})  # type: ignore[arg-type]
    except InvalidTriggerError:
        assert not expected
        return
    assert list(fires_within(trigger, begin, end)) == expected
    assert trigger.count_between(begin, end) == len(expected)
    assert trigger.last_fire_time(end) == expected[-1] if expected else True


@pytest.mark.parametrize("place", [1, 2, 3, 4, 5])
def test_places_of_weekdays_are_those_of_the_calendar(place: int) -> None:
    names = ["1st", "2nd", "3rd", "4th", "5th"]
    trigger = CronTrigger(day=f"{names[place - 1]} wed")
    expected = []
    for year in range(2026, 2054):
        for month in range(1, 13):
            wednesdays = [
                day for day in calendar.Calendar().itermonthdates(year, month)
                if day.month == month and day.weekday() == 2
            ]  # fmt: skip
            expected += [f"{day} 00:00:00" for day in wednesdays[place - 1 : place]]
    assert first_fires(trigger, len(expected)) == expected
