"""Triggers that fire once, or at no time that could be told before."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tickwork.errors import InvalidTriggerError
from tickwork.triggers import DateTrigger, ShutdownTrigger

EVE = datetime(2026, 12, 24, 17, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "trigger",
    [
        DateTrigger(EVE),
        DateTrigger("2026-12-24 18:00", "Europe/Berlin"),
        DateTrigger("2026-12-24T18:00:00+01:00"),
        DateTrigger("2026-12-24T17:00Z"),
        DateTrigger(datetime(2026, 12, 24, 18), BERLIN),
        DateTrigger(datetime(2026, 12, 24, 18, tzinfo=BERLIN)),
        DateTrigger("2026-12-24 18:00").in_timezone(BERLIN),
        DateTrigger("2026-12-24 19:00", timezone(timedelta(hours=2))),
        DateTrigger("2026-12-24 19:00", "+02:00"),
        DateTrigger("2026-12-24 17:00"),
        DateTrigger().anchored(EVE),
    ],
)
def test_it_fires_once(trigger: DateTrigger) -> None:
    before = EVE - timedelta(microseconds=1)
    assert trigger.next_fire_time(before) == EVE
    assert trigger.next_fire_time(EVE) is None
    assert trigger.last_fire_time(EVE) == EVE
    assert trigger.last_fire_time(before) is None
    assert trigger.count_between(before, EVE) == 1
    assert trigger.count_between(EVE, EVE + timedelta(days=1)) == 0


def test_without_a_time_and_an_anchor_it_never_fires() -> None:
    assert DateTrigger().next_fire_time(EVE) is None
    assert DateTrigger().count_between(EVE, EVE + timedelta(days=1)) == 0


def test_a_time_of_its_own_is_kept() -> None:
    trigger = DateTrigger(EVE)
    assert trigger.anchored(EVE + timedelta(days=1)) is trigger
    assert trigger.in_timezone(BERLIN) is trigger


def test_a_date_is_its_midnight() -> None:
    fire = DateTrigger(date(2026, 12, 24), BERLIN).next_fire_time(datetime(2026, 1, 1, tzinfo=UTC))
    assert fire == datetime(2026, 12, 23, 23, tzinfo=UTC)


def test_a_reading_that_occurs_twice_is_the_first_unless_told() -> None:
    reading = datetime(2026, 10, 25, 2, 30)
    first, second = (DateTrigger(reading.replace(fold=fold)) for fold in (0, 1))
    begin = datetime(2026, 10, 1, tzinfo=UTC)
    there = [trigger.in_timezone(BERLIN).next_fire_time(begin) for trigger in (first, second)]
    assert there == [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    assert first != second
    assert DateTrigger.from_json(second.to_json()) == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2026-03-29 02:30", "Europe/Berlin"), "run_at 2026-03-29 02:30 does not exist in Europe"),
        ((datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),), "does not exist in Europe/Berlin"),
        (("2026-02-30",), "run_at must be .*2026-02-30"),
        (("tomorrow",), "run_at must be a datetime, a date or a text"),
        ((1_790_000_000,), "run_at must be"),
        ((True,), "run_at must be"),
        ((b"2026-12-24",), "run_at must be"),
        (("0001-01-01", "+10:00"), "out of range"),
        (("2026-12-24", "Europe"), "Unknown time zone: 'Europe'"),
        (("2026-12-24", "../../etc/passwd"), "Unknown time zone"),
        (("2026-12-24", ""), "Unknown time zone"),
        (("2026-12-24", "+25:00"), "Unknown time zone"),
        (("2026-12-24", 2), "Not a time zone that can be stored: 2"),
        (("2026-12-24", True), "Not a time zone"),
        (("2026-12-24", timezone(timedelta(microseconds=1))), "whole seconds"),
    ],
)
def test_bad_times_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidTriggerError, match=message):
        DateTrigger(*arguments)


def test_a_naive_time_is_refused_as_soon_as_the_zone_is_known() -> None:
    trigger = DateTrigger("2026-03-29 02:30")
    with pytest.raises(InvalidTriggerError, match="does not exist in Europe/Berlin"):
        trigger.in_timezone(BERLIN)


def test_zones_of_other_libraries_are_taken_by_their_name() -> None:
    class Named:
        zone = "Europe/Berlin"

    named: Any = Named()
    assert DateTrigger("2026-12-24 18:00", named) == DateTrigger("2026-12-24 18:00", BERLIN)


def test_shutdown_has_no_time() -> None:
    assert ShutdownTrigger().next_fire_time(EVE) is None
    assert ShutdownTrigger() == ShutdownTrigger.from_json(ShutdownTrigger().to_json())
