"""Intervals: texts, anchors, bounds and arithmetic."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.triggers.test_clock_changes import backwards, fires_within
from tickwork.errors import InvalidTriggerError
from tickwork.triggers import IntervalTrigger, parse_interval

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1h", 3600.0),
        ("30m", 1800.0),
        ("90s", 90.0),
        ("2d", 172_800.0),
        ("1w", 604_800.0),
        (" 5M ", 300.0),
        ("007s", 7.0),
        (60, 60.0),
        (0.5, 0.5),
        (1e-6, 1e-6),
        (timedelta(minutes=5), 300.0),
    ],
)
def test_intervals_are_numbers_of_seconds_or_texts_with_a_unit(value: Any, seconds: float) -> None:
    assert parse_interval(value) == seconds
    assert IntervalTrigger.from_text(value).interval == timedelta(seconds=seconds)


BAD = [
    ("60", "Invalid interval format: '60'"),
    ("1.5h", "Invalid interval format: '1.5h'"),
    ("-1s", "Invalid interval format: '-1s'"),
    ("1h30m", "Invalid interval format"),
    ("1 h", "Invalid interval format"),
    ("1y", "Invalid interval format"),
    ("", "Invalid interval format: ''"),
    ("\u0661s", "Invalid interval format"),  # an Arabic digit
    ("1h\x00", "Invalid interval format"),
    (b"1h", "Invalid interval format: b'1h'"),
    (None, "Invalid interval format: None"),
    (True, "Invalid interval format: True"),
    (False, "Invalid interval format: False"),
    ([1], "Invalid interval format"),
    (float("nan"), "Invalid interval format: nan"),
    (float("inf"), "Invalid interval format: inf"),
    (float("-inf"), "Invalid interval format: -inf"),
    ("0s", "Interval must be positive"),
    (0, "Interval must be positive"),
    (0.0, "Interval must be positive"),
    (-1, "Interval must be positive"),
    (-(10**400), "Interval must be positive"),
    (timedelta(0), "Interval must be positive"),
    (timedelta(days=-1), "Interval must be positive"),
    (1e-7, "Interval is too short"),
    (10**400, "Interval is too long"),
    (1e300, "Interval is too long"),
    ("9" * 10_000 + "s", "Interval is too long"),
    ("600000w", "Interval is too long"),
]


@pytest.mark.parametrize(("value", "message"), BAD)
def test_bad_intervals_are_refused_everywhere_alike(value: Any, message: str) -> None:
    for refusing in (parse_interval, IntervalTrigger.from_text):
        with pytest.raises(ValueError, match=message) as caught:
            refusing(value)
        assert isinstance(caught.value, InvalidTriggerError)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Interval must be positive"),
        ({"minutes": 0}, "Interval must be positive"),
        ({"minutes": -5}, "minutes must not be negative: -5"),
        ({"hours": 1, "minutes": -5}, "minutes must not be negative"),
        ({"minutes": True}, "minutes must be a number, not True"),
        ({"minutes": "5"}, "minutes must be a number, not '5'"),
        ({"minutes": None}, "minutes must be a number, not None"),
        ({"minutes": float("nan")}, "Invalid interval format: nan"),
        ({"weeks": float("inf")}, "Invalid interval format: inf"),
        ({"seconds": 10**400}, "Interval is too long"),
        ({"seconds": 1e-9}, "Interval is too short"),
        ({"hours": 1, "start_at": "2026-01-02", "end_at": "2026-01-01"}, "before start_at"),
        ({"hours": 1, "start_at": 0}, "start_at must be a datetime"),
        ({"hours": 1, "timezone": "nowhere"}, "Unknown time zone: 'nowhere'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTriggerError, match=message):
        IntervalTrigger(**arguments)


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="minuts"):
        IntervalTrigger(minuts=5)  # type: ignore[call-arg]


def test_the_first_fire_is_at_the_start() -> None:
    trigger = IntervalTrigger(hours=1, start_at=NOON)
    assert trigger.next_fire_time(NOON - timedelta(days=3)) == NOON
    assert trigger.next_fire_time(NOON) == NOON + HOUR
    assert trigger.anchored(NOON - 5 * HOUR) is trigger


def test_the_first_fire_is_one_interval_after_the_anchor() -> None:
    trigger = IntervalTrigger(hours=1).anchored(NOON)
    assert trigger.next_fire_time(NOON - timedelta(days=3)) == NOON + HOUR
    assert trigger.next_fire_time(NOON) == NOON + HOUR
    assert trigger.next_fire_time(NOON + 7.5 * HOUR) == NOON + 8 * HOUR
    assert trigger.last_fire_time(NOON) is None
    assert trigger.anchored(NOON + 9 * HOUR) is trigger


def test_without_an_anchor_it_is_one_interval_from_any_instant() -> None:
    trigger = IntervalTrigger(hours=1)
    assert trigger.next_fire_time(NOON + timedelta(minutes=7)) == NOON + timedelta(minutes=67)
    assert trigger.last_fire_time(NOON) is None
    assert trigger.count_between(NOON, NOON + HOUR) == 0


def test_elapsed_time_knows_no_change_of_clocks() -> None:
    trigger = IntervalTrigger(hours=1, start_at="2026-03-28 13:00", timezone="Europe/Berlin")
    fires = list(fires_within(trigger, NOON, NOON + timedelta(days=2)))
    assert {later - earlier for earlier, later in pairwise(fires)} == {HOUR}


def test_the_end_is_the_last_possible_fire() -> None:
    trigger = IntervalTrigger(hours=1, start_at=NOON, end_at=NOON + 2 * HOUR)
    assert list(fires_within(trigger, NOON - HOUR, NOON + 9 * HOUR)) == [
        NOON, NOON + HOUR, NOON + 2 * HOUR,
    ]  # fmt: skip
    assert trigger.last_fire_time(NOON + 9 * HOUR) == NOON + 2 * HOUR
    assert trigger.count_between(NOON, NOON + 9 * HOUR) == 2


def test_naive_times_are_read_once_the_zone_is_known() -> None:
    trigger = IntervalTrigger(hours=1, start_at="2026-07-01 12:00")
    assert trigger.next_fire_time(NOON) == datetime(2026, 7, 1, 12, tzinfo=UTC)
    there = trigger.in_timezone("Europe/Berlin")
    assert there.next_fire_time(NOON) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert there.in_timezone("America/New_York") is there
    assert IntervalTrigger(hours=1).in_timezone("Europe/Berlin") == IntervalTrigger(hours=1)


def test_it_ends_with_the_calendar() -> None:
    trigger = IntervalTrigger(weeks=1, start_at=NOON)
    assert trigger.next_fire_time(datetime.max.replace(tzinfo=UTC)) is None


@given(
    st.integers(1, 10**13),
    st.integers(0, 10**14),
    st.integers(0, 10**14),
    st.booleans(),
    st.none() | st.integers(0, 10**14),
)
def test_arithmetic_is_enumeration(  # noqa: PLR0917 - hypothesis draws them in this order
    period_us: int, after_us: int, span_us: int, anchored: bool, end_us: int | None
) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    origin = epoch + timedelta(microseconds=10**13)
    interval = timedelta(microseconds=period_us)
    end_at = None if end_us is None else origin + timedelta(microseconds=end_us)
    if anchored:
        trigger = IntervalTrigger.from_text(interval, end_at=end_at).anchored(origin)
    else:
        trigger = IntervalTrigger.from_text(interval, start_at=origin, end_at=end_at)
    begin = epoch + timedelta(microseconds=after_us)
    end = begin + min(timedelta(microseconds=span_us), 50 * interval)
    fires = list(fires_within(trigger, begin, end))
    assert trigger.count_between(begin, end) == len(fires)
    assert backwards(trigger, begin, end) == fires
    assert all(later - earlier == interval for earlier, later in pairwise(fires))
    assert all((fire - origin) % interval == timedelta(0) for fire in fires)
