"""Every change of clocks since 1990, against the gap-and-fold rule written independently.

A deterministic sample of the zones runs by default; `TICKWORK_ALL_ZONES=1` runs them all.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tests.unit.triggers.oracles import Window, transitions
from tickwork.triggers import CalendarIntervalTrigger, CronTrigger
from tickwork.triggers.base import Timetable

BEGIN = datetime(1990, 1, 1, tzinfo=UTC)
END = datetime(2038, 1, 1, tzinfo=UTC)
ALL_ZONES = sorted(available_timezones() - {"localtime", "Factory"})
# Corrections of a day, half-hour and 20-minute shifts, shifts at midnight, negative DST, Ramadan.
NOTABLE = {
    "Africa/Casablanca", "America/Caracas", "America/Sao_Paulo", "America/St_Johns",
    "Antarctica/Casey", "Antarctica/Troll", "Asia/Gaza", "Asia/Pyongyang", "Asia/Tehran",
    "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin", "Kwajalein", "Pacific/Apia",
    "Pacific/Norfolk",
}  # fmt: skip
ZONES = ALL_ZONES if os.environ.get("TICKWORK_ALL_ZONES") else sorted({*ALL_ZONES[::50], *NOTABLE})
WINDOW = timedelta(hours=3)

FIXED = CronTrigger.from_crontab("0-59/5,1,59 0-23 * * *")
SPARSE = CronTrigger.from_crontab("15,30 0-23/2 * * *")
WILDCARD = CronTrigger.from_crontab("*/5 * * * *")
KEYWORDS = CronTrigger(hour="0-23", minute="10,40")
KEYWORDS_WILDCARD = CronTrigger(hour="*/2", minute="10,40")
CASES = {
    "fixed": (FIXED, True, lambda r: r.minute % 5 == 0 or r.minute in {1, 59}),
    "sparse": (SPARSE, True, lambda r: r.minute in {15, 30} and r.hour % 2 == 0),
    "wildcard": (WILDCARD, False, lambda r: r.minute % 5 == 0),
    "keywords": (KEYWORDS, True, lambda r: r.minute in {10, 40}),
    "keyword wildcard": (
        KEYWORDS_WILDCARD,
        False,
        lambda r: r.minute in {10, 40} and r.hour % 2 == 0,
    ),
}


@cache
def changes_of(key: str) -> list[datetime]:
    return list(transitions(ZoneInfo(key), BEGIN, END))


def fires_within(trigger: Timetable, begin: datetime, end: datetime) -> Iterator[datetime]:
    fire = trigger.next_fire_time(begin)
    while fire is not None and fire <= end:
        yield fire
        fire = trigger.next_fire_time(fire)


@pytest.mark.parametrize("key", ZONES)
def test_every_change_of_clocks_follows_the_rule(key: str) -> None:
    zone = ZoneInfo(key)
    for change in changes_of(key):
        minute = change.replace(second=0)
        begin, end = minute - WINDOW, minute + WINDOW
        window = Window(zone, begin, end)
        for name, (trigger, fixed, matches) in CASES.items():
            there = trigger.in_timezone(zone)
            expected = window.fires(matches, fixed=fixed)
            found = list(fires_within(there, begin, end))
            assert found == expected, (name, change)
            assert there.count_between(begin, end) == len(expected), (name, change)
            assert backwards(there, begin, end) == expected, (name, change)


def backwards(trigger: Timetable, begin: datetime, end: datetime) -> list[datetime]:
    found = []
    fire = trigger.last_fire_time(end)
    while fire is not None and fire > begin:
        found.append(fire)
        fire = trigger.last_fire_time(fire - timedelta(microseconds=1))
    return found[::-1]


@pytest.mark.parametrize("key", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])
def test_the_rule_holds_for_daily_calendar_intervals(key: str) -> None:
    zone = ZoneInfo(key)
    for change in changes_of(key):
        begin, end = change - timedelta(hours=20), change + timedelta(hours=20)
        for hour, minute in ((0, 30), (1, 0), (1, 59), (2, 0), (2, 30), (3, 0)):
            calendar = CalendarIntervalTrigger(
                days=1, hour=hour, minute=minute, start_date="1989-01-01", timezone=zone
            )
            cron = CronTrigger(hour=hour, minute=minute, timezone=zone)
            expected = list(fires_within(cron, begin, end))
            assert len(expected) in {1, 2}
            assert list(fires_within(calendar, begin, end)) == expected
            assert backwards(calendar, begin, end) == expected
            assert calendar.count_between(begin, end) == len(expected)


BERLIN = "Europe/Berlin"


def test_a_lost_reading_fires_once_right_after_the_gap() -> None:
    trigger = CronTrigger.from_crontab("0,15,30 2,3 29 3 *", BERLIN)
    begin = datetime(2026, 3, 29, tzinfo=UTC)
    found = list(fires_within(trigger, begin, datetime(2026, 3, 30, tzinfo=UTC)))
    assert found == [begin.replace(hour=1, minute=m) for m in (0, 15, 30)]


def test_a_reading_that_occurs_twice_fires_the_first_time_also_when_asked_in_the_second_pass() -> (
    None
):
    trigger = CronTrigger.from_crontab("30 2 * * *", BERLIN)
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert trigger.next_fire_time(first - timedelta(hours=1)) == first
    second_pass = first + timedelta(minutes=45)
    assert trigger.next_fire_time(second_pass) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert trigger.last_fire_time(second_pass + timedelta(hours=1)) == first


def test_a_skipped_day_is_a_correction_and_makes_nothing_up() -> None:
    trigger = CronTrigger(hour=12, timezone="Pacific/Apia")  # 2011-12-30 didn't exist there
    noon = datetime(2011, 12, 29, 22, tzinfo=UTC)
    assert trigger.next_fire_time(noon - timedelta(seconds=1)) == noon
    assert trigger.next_fire_time(noon) == datetime(2011, 12, 30, 22, tzinfo=UTC)
    assert trigger.count_between(noon, noon + timedelta(days=1)) == 1


def test_a_repeated_day_is_a_correction_and_holds_nothing_back() -> None:
    trigger = CronTrigger(hour=12, timezone="Pacific/Kwajalein")  # 1969-09-30 back by 23 hours
    begin = datetime(1969, 9, 29, tzinfo=UTC)
    fires = list(fires_within(trigger, begin, begin + timedelta(days=3)))
    gaps = [later - earlier for earlier, later in pairwise(fires)]
    assert len(fires) == 4
    assert timedelta(hours=1) in gaps or timedelta(hours=24) in gaps


def test_a_fixed_six_field_schedule_fires_once_for_a_lost_minute_of_seconds() -> None:
    trigger = CronTrigger.from_crontab("* 30 2 29 3 *", BERLIN)
    begin = datetime(2026, 3, 29, tzinfo=UTC)
    found = list(fires_within(trigger, begin, begin + timedelta(days=1)))
    assert found == [datetime(2026, 3, 29, 1, tzinfo=UTC)]


def test_stepped_hours_are_wildcards_for_which_nothing_is_made_up() -> None:
    trigger = CronTrigger.from_crontab("0 */2 * * *", BERLIN)
    begin = datetime(2026, 3, 29, tzinfo=UTC)
    found = list(fires_within(trigger, begin, begin.replace(hour=4)))
    assert found == [begin.replace(hour=2), begin.replace(hour=4)]  # 4:00 and 6:00, never 2:00


def test_rules_hold_in_the_far_future() -> None:
    trigger = CronTrigger.from_crontab("30 2 * 3 L0", BERLIN)
    assert trigger.next_fire_time(datetime(9990, 1, 1, tzinfo=UTC)) == datetime(
        9990, 3, 25, 1, tzinfo=UTC
    )
