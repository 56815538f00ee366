"""Cron expressions: what is understood, how it is stored, and what is refused."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from tests.unit.triggers.test_clock_changes import fires_within
from tickwork.errors import InvalidTriggerError
from tickwork.triggers import CronTrigger

START = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


def first_fires(expression: str, n: int = 3) -> list[str]:
    trigger = CronTrigger.from_crontab(expression, "UTC")
    fires = fires_within(trigger, START, datetime(2100, 1, 1, tzinfo=UTC))
    return [f"{fire:%Y-%m-%d %H:%M:%S}" for fire in islice(fires, n)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * * 7", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 0 * * 0", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 0 * * 5-7", ["2026-01-02", "2026-01-03", "2026-01-04"]),
        ("0 0 * * fri-mon", ["2026-01-02", "2026-01-03", "2026-01-04"]),
        ("0 0 3-3 * *", ["2026-01-03", "2026-02-03", "2026-03-03"]),
        ("0 0 * * mon-mon", ["2026-01-05", "2026-01-12", "2026-01-19"]),
        ("0 0 13 * fri", ["2026-01-02", "2026-01-09", "2026-01-13"]),  # OR
        ("0 0 */13 * fri", ["2026-02-27", "2026-03-27", "2026-05-01"]),  # AND
        ("0 0 13 * */5", ["2026-02-13", "2026-03-13", "2026-09-13"]),  # AND
        ("0 0 1 * 1#2", ["2026-01-01", "2026-01-12", "2026-02-01"]),  # OR, unlike croniter
        ("0 0 1 * L5", ["2026-01-01", "2026-01-30", "2026-02-01"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * friL", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 ? * mon#1", ["2026-01-05", "2026-02-02", "2026-03-02"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("0 0 31 4,5 *", ["2026-05-31", "2027-05-31", "2028-05-31"]),
        ("0 0 31 2 mon", ["2026-02-02", "2026-02-09", "2026-02-16"]),  # OR saves it
    ],
)
def test_days(expression: str, expected: list[str]) -> None:
    assert first_fires(expression) == [f"{day} 00:00:00" for day in expected]


@pytest.mark.parametrize(
    ("nickname", "expression"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @Hourly ", "0 * * * *"),
    ],
)
def test_nicknames(nickname: str, expression: str) -> None:
    assert CronTrigger.from_crontab(nickname) == CronTrigger.from_crontab(expression)


def test_six_fields_have_the_seconds_first() -> None:
    assert first_fires("*/20 5 8 * * *") == [f"2026-01-01 08:05:{s}" for s in ("00", "20", "40")]
    six = CronTrigger.from_crontab("0 5 8 * * *", seconds=True)
    assert six == CronTrigger.from_crontab("5 8 * * *", seconds=False)


def test_the_stored_form_is_lower_case_with_single_blanks() -> None:
    trigger = CronTrigger.from_crontab("  0  8 * JAN-mar\tMON-FRI ", "Europe/Berlin")
    assert trigger.crontab == "0 8 * jan-mar mon-fri"
    assert str(trigger) == "cron 0 8 * jan-mar mon-fri (Europe/Berlin)"


@pytest.mark.parametrize(
    ("expression", "seconds", "message"),
    [
        ("99 * * * *", None, "out of range"),
        ("0 0 30 2 *", None, "never fires"),
        ("0 0 31 2,4,6,9,11 *", None, "never fires"),
        ("* * 30 2 */2", None, "never fires"),
        ("*/0 * * * *", None, "step '0'"),
        ("5-1 * * * *", None, "runs backwards"),
        ("* * * * 5-1", None, "runs backwards"),
        ("* * * * 5-0", None, "runs backwards"),
        ("* * * * fri-mon/2", None, "wraps around and has a step"),
        ("* * * nov-feb/2 *", None, "wraps around and has a step"),
        ("0 0 * * * *", False, "it has 6 fields, but 5 .* are needed"),
        ("0 0 * * *", True, "it has 5 fields, but 6 .* are needed"),
        ("0 0 * *", None, "it has 4 fields"),
        ("0 0 0 1 1 * 2030", None, "it has 7 fields"),
        ("", None, "it has 0 fields"),
        ("@reboot", None, "call it there"),
        ("@often", None, "nicknames are"),
        ("0 0 15W * *", None, "no W, H or R"),
        ("R * * * *", None, "no W, H or R"),
        ("H/5 * * * *", None, "no W, H or R"),
        ("0 0 * * 8", None, "not acceptable"),
        ("0 0 * * 1#6", None, "not acceptable"),
        ("0 0 0 * *", None, "not acceptable"),
        ("0 0 * 0 *", None, "not acceptable"),
        ("0 0 * foo *", None, "not acceptable"),
        ("-1 0 * * *", None, "not acceptable"),
        ("1.5 0 * * *", None, "not acceptable"),
        ("1,,2 0 * * *", None, "not acceptable"),
        ("0 0 l-3 * *", None, "not acceptable"),
        ("0 0 * * 1#1,3", None, "does not support mixing"),
        ("* * * * " + "1," * 600 + "1", None, "at most 1000 characters"),
        (None, None, "must be a text, not None"),
        (b"* * * * *", None, "must be a text"),
        (5, None, "must be a text"),
    ],
)
def test_bad_expressions_are_refused(
    expression: object, seconds: bool | None, message: str
) -> None:
    with pytest.raises(InvalidTriggerError, match=message):
        CronTrigger.from_crontab(expression, seconds=seconds)  # type: ignore[arg-type]


def test_a_wildcard_whose_only_readings_are_lost_ends_in_bounded_time() -> None:
    trigger = CronTrigger.from_crontab("* 2 * 3 L0", "Europe/Berlin")
    assert trigger.next_fire_time(datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_results_end_with_the_calendar() -> None:
    trigger = CronTrigger.from_crontab("0 0 * * *", "Pacific/Kiritimati")
    last = datetime(9999, 12, 30, 10, tzinfo=UTC)
    assert trigger.next_fire_time(last - timedelta(seconds=1)) == last
    assert trigger.next_fire_time(last) is None
    assert CronTrigger(second="*").next_fire_time(datetime.max.replace(tzinfo=UTC)) is None
    assert CronTrigger(second="*").last_fire_time(datetime.min.replace(tzinfo=UTC)) == datetime(
        1, 1, 1, tzinfo=UTC
    )
