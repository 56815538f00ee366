"""Schedules as texts, and when they would fire."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tickwork

WORKDAYS = """\
cron 0 8 * * mon-fri (Europe/Berlin)
  Tue 2026-11-24 08:00:00 +01:00 (in 22 h)
  Wed 2026-11-25 08:00:00 +01:00 (in 1 d 22 h)
  Thu 2026-11-26 08:00:00 +01:00 (in 2 d 22 h)
  Fri 2026-11-27 08:00:00 +01:00 (in 3 d 22 h)
  Mon 2026-11-30 08:00:00 +01:00 (in 6 d 22 h)
"""


def test_five_fire_times_are_shown_on_the_clocks_of_the_zone(tickwork: Tickwork) -> None:
    said = tickwork("preview", "0 8 * * mon-fri", "--timezone", "Europe/Berlin")
    assert said == (0, WORKDAYS, "")


@pytest.mark.parametrize(
    ("schedule", "shown"),
    [
        ("5m", "every 5 minutes\n  Mon 2026-11-23 09:05:00 +00:00 (in 5 min)\n"),
        ("@daily", "cron 0 0 * * * (UTC)\n  Tue 2026-11-24 00:00:00 +00:00 (in 15 h)\n"),
        ("30 0 9 * * *", "cron 30 0 9 * * * (UTC)\n  Mon 2026-11-23 09:00:30 +00:00 (in 30 s)\n"),
        (
            "2026-12-24 18:00",
            "once at 2026-12-24 18:00 UTC\n  Thu 2026-12-24 18:00:00 +00:00 (in 31 d)\n",
        ),
        (
            "2026-11-24T18:00+05:00",
            "once at 2026-11-24 13:00 UTC\n  Tue 2026-11-24 13:00:00 +00:00 (in 1 d 4 h)\n",
        ),
        (
            "2026-11-22",
            """once at 2026-11-22 00:00 UTC
  Sun 2026-11-22 00:00:00 +00:00 (1 d 9 h ago: at once)
""",
        ),
    ],
)
def test_a_schedule_is_a_cron_expression_an_interval_or_a_moment(
    tickwork: Tickwork, schedule: str, shown: str
) -> None:
    assert tickwork("preview", schedule, "--count", "1") == (0, shown, "")


def test_json_has_instants_with_the_offset_of_the_zone(tickwork: Tickwork) -> None:
    said = tickwork("preview", "0 12 * * *", "--timezone", "Asia/Tokyo", "--count", "2", "--json")
    assert json.loads(said.out) == {
        "schedule": "0 12 * * *",
        "kind": "cron",
        "description": "cron 0 12 * * * (Asia/Tokyo)",
        "timezone": "Asia/Tokyo",
        "fire_times": ["2026-11-24T12:00:00+09:00", "2026-11-25T12:00:00+09:00"],
    }


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("hello", "'hello' is not a schedule"),
        ("", "'' is not a schedule"),
        ("1.5h", "Invalid interval format: '1.5h'"),
        ("0s", "Interval must be positive, not '0s'"),
        ("99 * * * *", "99"),
        ("0 0 30 2 *", "never fires"),
        ("* * *", "* * *"),
        ("2026-02-30", "2026-02-30"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_line(
    tickwork: Tickwork, schedule: str, words: str
) -> None:
    said = tickwork("preview", schedule)
    assert (said.exit_code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("tickwork: ")
    assert words in said.err


def test_an_unknown_zone_is_refused(tickwork: Tickwork) -> None:
    said = tickwork("preview", "5m", "--timezone", "Europe/Atlantis")
    assert said.exit_code == 2
    assert "Unknown time zone: 'Europe/Atlantis'" in said.err


def test_no_store_is_touched(
    tickwork: Tickwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKWORK_STORE", "sqlite:///tasks.db")
    assert tickwork("preview", "5m").exit_code == 0
    assert list(tmp_path.iterdir()) == []
