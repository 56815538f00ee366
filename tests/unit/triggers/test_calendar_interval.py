"""Calendar intervals: dates that exist, one time of day, arithmetic."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.triggers.test_clock_changes import backwards, fires_within
from tickwork.errors import InvalidTriggerError
from tickwork.triggers import CalendarIntervalTrigger

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2200, 1, 1, tzinfo=UTC)


def dates_of(trigger: CalendarIntervalTrigger, n: int) -> list[str]:
    return [f"{fire:%Y-%m-%d}" for fire in islice(fires_within(trigger, BEGIN, END), n)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"days": 10}, ["2026-01-31", "2026-02-10", "2026-02-20"]),
        ({"weeks": 1, "days": 1}, ["2026-01-31", "2026-02-08", "2026-02-16"]),
        ({"months": 1}, ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ({"months": 6}, ["2026-01-31", "2026-07-31", "2027-01-31"]),
        ({"years": 1, "months": 1}, ["2026-01-31", "2028-03-31", "2029-05-31"][:1]),
        ({"years": 4}, ["2026-01-31", "2030-01-31", "2034-01-31"]),
        ({"months": 1, "days": 1}, ["2026-01-31", "2026-04-01", "2026-05-02"]),
    ],
)
def test_dates_that_do_not_exist_are_skipped(
    arguments: dict[str, int], expected: list[str]
) -> None:
    trigger = CalendarIntervalTrigger(**arguments, start_date="2026-01-31")  # type: ignore[arg-type]
    assert dates_of(trigger, len(expected)) == expected


def test_leap_days_are_every_four_years_but_for_some_centuries() -> None:
    trigger = CalendarIntervalTrigger(years=1, start_date="2092-02-29")
    assert dates_of(trigger, 3) == ["2092-02-29", "2096-02-29", "2104-02-29"]


def test_the_time_of_day_is_the_zones() -> None:
    trigger = CalendarIntervalTrigger(
        months=1, hour=8, minute=30, second=15, start_date="2026-03-10", timezone="Europe/Berlin"
    )
    assert list(islice(fires_within(trigger, BEGIN, END), 2)) == [
        datetime(2026, 3, 10, 7, 30, 15, tzinfo=UTC),
        datetime(2026, 4, 10, 6, 30, 15, tzinfo=UTC),
    ]


def test_the_anchor_gives_the_first_date_if_its_time_is_still_ahead() -> None:
    anchor = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)  # the 11th in Berlin
    before = CalendarIntervalTrigger(days=2, hour=8).anchored(anchor).in_timezone("Europe/Berlin")
    after = CalendarIntervalTrigger(days=2).in_timezone("Europe/Berlin").anchored(anchor)
    assert before.next_fire_time(BEGIN) == datetime(2026, 3, 11, 7, tzinfo=UTC)
    assert after.next_fire_time(BEGIN) == datetime(2026, 3, 12, 23, tzinfo=UTC)
    assert before.anchored(BEGIN) is before
    assert CalendarIntervalTrigger.from_json(before.to_json()) == before


def test_without_start_and_anchor_it_never_fires() -> None:
    trigger = CalendarIntervalTrigger(days=1)
    assert trigger.next_fire_time(BEGIN) is None
    assert trigger.last_fire_time(END) is None
    assert trigger.count_between(BEGIN, END) == 0


def test_the_end_date_is_the_last_one() -> None:
    trigger = CalendarIntervalTrigger(weeks=1, start_date="2026-01-01", end_date=date(2026, 1, 15))
    assert dates_of(trigger, 9) == ["2026-01-01", "2026-01-08", "2026-01-15"]
    assert trigger.count_between(BEGIN, END) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs years, months, weeks or days"),
        ({"days": 0}, "needs years, months, weeks or days"),
        ({"days": -1}, "days must be a whole number from 0"),
        ({"days": 1.5}, "days must be a whole number"),
        ({"days": True}, "days must be a whole number"),
        ({"days": None}, "days must be a whole number"),
        ({"days": 10**400}, "days must be a whole number"),
        ({"days": 1, "hour": 24}, "hour must be a whole number from 0 to 23, not 24"),
        ({"days": 1, "minute": -1}, "minute must be"),
        ({"days": 1, "start_date": "2026-02-30"}, "start_date must be a date"),
        ({"days": 1, "start_date": datetime(2026, 1, 1)}, "start_date must be a date"),
        ({"days": 1, "start_date": "2026-01-02", "end_date": "2026-01-01"}, "before start_date"),
        ({"days": 1, "timezone": "nowhere"}, "Unknown time zone"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTriggerError, match=message):
        CalendarIntervalTrigger(**arguments)


def by_apscheduler_s_rule(start: date, months: int, days: int, last: date) -> list[date]:
    found = [start]
    while True:
        on = found[-1]
        place = on.year * 12 + on.month - 1 + months
        while place // 12 <= last.year + 60:
            try:
                following = date(place // 12, place % 12 + 1, on.day) + timedelta(days=days)
                break
            except ValueError:
                place += months
        else:
            return found
        if following > last:
            return found
        found.append(following)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 30),
    st.integers(0, 45),
    st.dates(date(2019, 1, 1), date(2028, 12, 31)),
    st.dates(date(2019, 1, 1), date(2028, 12, 31)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    st.integers(0, 23),
)
def test_arithmetic_is_enumeration(  # noqa: PLR0917 - hypothesis draws them in this order
    months: int, days: int, start: date, first: date, key: str, hour: int
) -> None:
    if months == days == 0:
        return
    trigger = CalendarIntervalTrigger(
        months=months, days=days, hour=hour, minute=10, start_date=start, timezone=key
    )
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = begin + timedelta(days=1500)
    fires = list(fires_within(trigger, begin, end))
    assert trigger.count_between(begin, end) == len(fires)
    assert backwards(trigger, begin, end) == fires
    zone = ZoneInfo(key)
    dates = by_apscheduler_s_rule(start, months, days, (end + timedelta(days=2)).date())
    readings = [datetime(d.year, d.month, d.day, hour, 10, tzinfo=zone) for d in dates]
    existing = [r.astimezone(UTC) for r in readings]
    expected = [fire for fire in existing if begin < fire <= end]
    # Readings that don't exist fire at the end of their gap, which is another rule's test.
    gaps = {
        fire
        for fire, reading in zip(existing, readings, strict=True)
        if fire.astimezone(zone).replace(tzinfo=None) != reading.replace(tzinfo=None)
    }
    assert len(fires) == len(expected)
    assert set(expected) - gaps <= set(fires)
