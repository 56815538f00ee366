"""What pages say and draw, of numbers and schedules."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.service import jobs
from tests.service.conftest import START, Site
from tickwork.model.policies import RunState, Source
from tickwork.service.actors import Actor
from tickwork.service.dashboard.drawing import strip_of, time_line
from tickwork.service.dashboard.hour import last_hour, percentile
from tickwork.service.dashboard.words import (
    by_hand,
    duration,
    in_zone,
    plural,
    relative,
    schedule_text,
    schedule_words,
)
from tickwork.service.models import RunSummary
from tickwork.service.roles import Role
from tickwork.service.schedules import read_schedule
from tickwork.wiring import build_trigger


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 8 * * mon-fri", "at 08:00 from Monday to Friday"),
        ("30 23 * * *", "every day at 23:30"),
        ("*/15 * * * *", "every 15 minutes"),
        ("5 * * * *", "every hour at minute 5"),
        ("* * * * *", "every minute"),
        ("0 */6 * * *", "every 6 hours"),
        ("0 3 1 * *", "at 03:00 on day 1 of every month"),
        ("0 3 * * 0,sat", "at 03:00 on Sunday, Saturday"),
        # What would take more words than its expression is left as it is.
        ("*/7 * * * *", "cron */7 * * * *"),
        ("0 3 1 1 *", "cron 0 3 1 1 *"),
        ("0 3 1 * mon", "cron 0 3 1 * mon"),
    ],
)
def test_expressions_in_plain_words(expression: str, words: str) -> None:
    trigger = read_schedule(expression, None)
    assert schedule_words(str(trigger), trigger.to_json()) == words


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hour": 8}, "0 8 * * *"),
        ({"minute": "*/15"}, "*/15 * * * *"),
        ({"day_of_week": "mon-fri", "hour": 8, "minute": 30}, "30 8 * * mon-fri"),
        ({"day": 1}, "0 0 1 * *"),
        ({"month": 6}, "0 0 1 jun *"),
        ({"day_of_week": "0"}, "0 0 * * mon"),
        ({"day": 1, "day_of_week": "mon"}, None),
        ({"second": 5}, None),
    ],
)
def test_fields_as_an_expression_that_means_the_same(
    arguments: dict[str, Any], text: str | None
) -> None:
    trigger = build_trigger("cron", {"timezone": "UTC", **arguments})
    assert schedule_text(trigger.to_json()) == text
    if text is not None:
        instant, same = START, read_schedule(text, "UTC")
        for _ in range(20):
            after = trigger.next_fire_time(instant)
            assert same.next_fire_time(instant) == after
            assert after is not None
            instant = after


@pytest.mark.parametrize("text", ["90s", "5m", "2h", "1d"])
def test_intervals_as_they_are_typed(text: str) -> None:
    assert schedule_text(read_schedule(text, None).to_json()) == text


def test_what_one_line_can_not_say() -> None:
    assert schedule_text(build_trigger("calendar", {"months": 1}).to_json()) is None
    assert schedule_text(build_trigger("interval", {"seconds": 0.5}).to_json()) is None
    assert schedule_text(None) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "\N{EN DASH}"), (0.0042, "4 ms"), (1.5, "1.5 s"), (59, "59 s"), (60, "1 min"),
        (3_661, "1 h 1 min"), (90_000, "1 d 1 h"), (86_400, "1 d"), (-5, "-5 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_times_seen_from_now() -> None:
    assert relative(START + timedelta(minutes=5), START) == "in 5 min"
    assert relative(START - timedelta(hours=2), START) == "2 h ago"
    assert relative(START, START) == "now"
    assert relative(None, START) == "never"
    assert in_zone(START, "Europe/Berlin") == "Mon 09:00 Europe/Berlin"
    assert in_zone(START, "UTC") is None
    assert in_zone(START, "Nowhere/Land") is None
    assert [plural(1, "run"), plural(1_500, "run")] == [
        "1 run",
        "1\N{NARROW NO-BREAK SPACE}500 runs",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"), ("", "nothing"), (True, "yes"), (False, "no"), (3, "3"), ("x", "x"),
        (["a"], '["a"]'), ("2026-11-02T08:00:00Z", "2026-11-02 08:00:00"),
        ("2026-11-02T08:00:00.123456Z", "2026-11-02 08:00:00"),
    ],
)  # fmt: skip
def test_values_in_a_table_of_changes(value: Any, words: str) -> None:
    assert by_hand(value) == words


def run(state: RunState, minutes: int = 0, took_s: float = 1.0, **known: Any) -> RunSummary:
    at = START + timedelta(minutes=minutes)
    ended = state is not RunState.RUNNING
    values = dict.fromkeys(RunSummary.model_fields) | {
        "id": f"r{minutes}", "task_id": "t", "status": state, "source": Source.SCHEDULED,
        "fire_count": 1, "created_at": at, "fire_time": at, "started_at": at,
        "completed_at": at + timedelta(seconds=took_s) if ended else None,
    }  # fmt: skip
    return RunSummary.model_construct(**values | known)


def test_a_strip_says_in_words_what_it_draws() -> None:
    strip = strip_of([run(RunState.FAILED, 2), run(RunState.COMPLETED, 1), run(RunState.COMPLETED)])
    assert strip.text == "last 3: 2 completed, 1 failed; newest failed"
    assert [bar.meaning for bar in strip.bars] == ["good", "good", "bad"]
    assert [bar.x for bar in strip.bars] == [102, 108, 114]
    assert strip_of([]).text == "no runs yet"


def test_longer_runs_are_higher_bars() -> None:
    heights = [
        strip_of([run(RunState.COMPLETED, took_s=seconds)]).bars[0].height
        for seconds in (0.001, 1, 60, 3_600, 1e9)
    ]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (8, 20)
    assert strip_of([run(RunState.RUNNING)]).bars[0].height == 20


def test_a_time_line_has_past_future_and_ranges() -> None:
    skipped = run(
        RunState.SKIPPED, 60, fire_count=6, first_fire_time=START,
        last_fire_time=START + timedelta(minutes=50),
    )  # fmt: skip
    now = START + timedelta(minutes=100)
    fires = [now + timedelta(minutes=10), now + timedelta(minutes=20)]
    line = time_line([run(RunState.COMPLETED, 100), skipped], fires, now)
    assert line is not None
    assert [(bar.x, bar.width) for bar in line.past] == [(0, 350), (700, 5)]
    assert [bar.x for bar in line.future] == [847, 994]
    assert line.now_x == 700
    assert line.past[0].title.endswith("6 fire times")
    assert line.text == "last 2: 1 skipped, 1 completed; newest completed; 2 coming fires shown"
    assert time_line([], [], now) is None


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(1, 99, 1), (100, 50, 50), (100, 95, 95), (10, 99, 10)]
)
def test_percentiles(count: int, percent: float, expected: float) -> None:
    assert percentile(list(range(1, count + 1)), percent) == expected
    assert percentile([], percent) is None


def test_the_last_hour_counts_each_run_in_its_minute(site: Site) -> None:
    site.scheduler.add_task(jobs.other, "interval", minutes=1, id="each minute")
    site.scheduler.add_task(jobs.fail, "interval", minutes=20, id="fails often")
    site.scheduler.remove_task("close")
    site.scheduler.remove_task("fails")
    for _ in range(30):
        site.scheduler.advance(minutes=1)
    now = datetime(2026, 11, 2, 8, 30, 30, tzinfo=UTC)
    hour = last_hour(site.service.operations(Actor(name="x", role=Role.VIEWER)), now)
    assert (hour.runs, hour.failed, hour.whole) == (31, 1, True)
    assert len(hour.minutes) == 60
    by_minute = {f"{minute.at:%H:%M}": (minute.runs, minute.failed) for minute in hour.minutes}
    assert by_minute["08:20"] == (2, 1)
    assert by_minute["08:30"] == (1, 0)
    assert by_minute["07:59"] == (0, 0)
    assert hour.p99 == 0
