"""Instants and durations, as people read them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tickwork.cli.moments import (
    duration_text,
    moment_of,
    moment_text,
    relative_text,
    seconds_text,
    zone_named,
)
from tickwork.errors import InvalidInputError

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (UTC, "2026-07-01 12:00:00 +00:00"),
        (ZoneInfo("Europe/Berlin"), "2026-07-01 14:00:00 +02:00"),
        (ZoneInfo("Asia/Kathmandu"), "2026-07-01 17:45:00 +05:45"),
        (timezone(-timedelta(hours=9, minutes=30)), "2026-07-01 02:30:00 -09:30"),
    ],
)
def test_a_moment_has_its_offset(zone: ZoneInfo, text: str) -> None:
    assert moment_text(NOW, zone) == text


@pytest.mark.parametrize(
    ("away", "text"),
    [
        (timedelta(0), "now"),
        (timedelta(milliseconds=-999), "now"),
        (timedelta(seconds=1), "in 1 s"),
        (timedelta(seconds=-45), "45 s ago"),
        (timedelta(hours=3, minutes=12, seconds=59), "in 3 h 12 min"),
        (-timedelta(days=400), "400 d ago"),
    ],
)
def test_a_moment_is_so_far_away(away: timedelta, text: str) -> None:
    assert relative_text(NOW + away, NOW) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=61), "1 min 1 s"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=1, seconds=5), "1 h"),
        (timedelta(days=2, hours=4, minutes=9), "2 d 4 h"),
        (timedelta(days=13, minutes=59), "13 d"),
        (timedelta(days=14, hours=23), "14 d"),
        (timedelta(days=1234), "1,234 d"),
    ],
)
def test_a_duration_has_its_two_largest_units(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 ms"), (0.0004, "0.4 ms"), (0.012, "12 ms"), (3.21, "3.2 s"),
        (245.0, "4 min 5 s"), (-0.5, "-500 ms"),
    ],
)  # fmt: skip
def test_a_measured_duration_has_a_fitting_unit(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "ahead", "moment"),
    [
        ("2h", False, "2026-07-01T10:00:00+00:00"),
        ("90s", True, "2026-07-01T12:01:30+00:00"),
        ("1d", True, "2026-07-02T12:00:00+00:00"),
        ("2026-07-02", False, "2026-07-02T00:00:00+02:00"),
        ("2026-07-02 18:00", True, "2026-07-02T18:00:00+02:00"),
        ("2026-07-02T18:00:00Z", False, "2026-07-02T18:00:00+00:00"),
    ],
)
def test_a_moment_is_said_by_a_clock_or_by_its_distance(
    text: str, ahead: bool, moment: str
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert moment_of(text, NOW, berlin, ahead=ahead) == datetime.fromisoformat(moment)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "-2h", "0s"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        moment_of(text, NOW, UTC)


def test_a_zone_without_a_name_is_none() -> None:
    assert zone_named("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    assert zone_named("UTC+02:00") is None
    assert zone_named(None) is None
