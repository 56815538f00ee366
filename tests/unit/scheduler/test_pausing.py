"""Pauses with an end, and edits that don't overwrite each other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.unit.scheduler import jobs
from tickwork.errors import SchedulerStateError, StaleEditError, TaskConfigurationError
from tickwork.events import TaskResumed
from tickwork.model.policies import ScheduleState
from tickwork.testing import ManualClock, SteppedScheduler

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STORES = ("memory", "file", "sqlite", "postgres", "mysql", "redis", "mongodb")


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return "memory://"
        case "file":
            return f"file://{tmp_path}/tasks"
        case "sqlite":
            return f"sqlite:///{tmp_path}/tasks.db"
        case other:
            found: str = request.getfixturevalue(f"{other}_url")
            sign = "&" if "?" in found else "?"
            return f"{found}{sign}prefix=pause{uuid4().hex[:8]}_"


def started(url: str) -> SteppedScheduler:
    scheduler = SteppedScheduler(url, clock=ManualClock(START))
    scheduler.add_task(jobs.note, "interval", minutes=1, id="a", max_history=100)
    scheduler.start()
    return scheduler


def outcomes(scheduler: SteppedScheduler) -> list[tuple[str, float, int]]:
    """Return status, last fire time in minutes, and count of each run, oldest first."""
    return [
        (run.status.value, (run.last_fire_time - START) / MINUTE, run.fire_count)
        for run in reversed(scheduler.get_runs(task="a", limit=100))
        if run.last_fire_time is not None
    ]


def test_a_pause_ends_by_itself_and_a_fire_time_at_its_end_is_executed(url: str) -> None:
    scheduler = started(url)
    told: list[TaskResumed] = []
    scheduler.on(TaskResumed, told.append)
    with scheduler:
        scheduler.advance(minutes=2)
        scheduler.get_task("a").pause("a release", until=START + 6 * MINUTE)
        paused = scheduler.get_task_info("a")
        assert (paused.schedule_state, paused.paused_reason) == ("paused", "a release")
        assert paused.paused_until == START + 6 * MINUTE
        assert paused.next_run_time is None
        assert scheduler.preview("a", 2) == [START + 6 * MINUTE, START + 7 * MINUTE]
        scheduler.advance(minutes=3, seconds=59)
        assert [each.id for each in scheduler.get_tasks(state="paused")] == ["a"]
        assert len(outcomes(scheduler)) == 2
        scheduler.advance(minutes=1)
        going_on = scheduler.get_task_info("a")
        assert going_on.schedule_state is ScheduleState.SCHEDULED
        assert (going_on.paused_reason, going_on.paused_until) == (None, None)
        assert outcomes(scheduler) == [
            ("completed", 1, 1),
            ("completed", 2, 1),
            ("skipped", 5, 3),
            ("completed", 6, 1),
        ]
        [skipped] = scheduler.get_runs(task="a", status="skipped")
        assert skipped.reason == "the task was paused: a release"
        assert scheduler.snapshot().tasks["default"]["paused"] == 0
        assert scheduler.snapshot().tasks["default"]["scheduled"] == 1
    assert [each.task_id for each in told] == ["a"]


def test_what_ends_while_nobody_is_there_ended_at_its_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    with started(url) as scheduler:
        scheduler.pause_task("a", until=START + 10 * MINUTE + MINUTE / 2)
    clock = ManualClock(START + 20 * MINUTE + MINUTE / 2)
    with SteppedScheduler(url, clock=clock) as scheduler:
        scheduler.advance(seconds=1)
        # Ten while it was paused; of the ten since, the last one stands for all.
        assert outcomes(scheduler) == [("skipped", 10, 10), ("completed", 20, 10)]


def test_a_second_pause_says_anew_how_long(url: str) -> None:
    with started(url) as scheduler:
        scheduler.pause_task("a", reason="why", until=START + 2 * MINUTE)
        scheduler.pause_task("a")
        assert scheduler.get_task_info("a").paused_until is None
        assert scheduler.get_task_info("a").paused_reason == "why"
        scheduler.advance(minutes=5)
        assert scheduler.get_task_info("a").schedule_state is ScheduleState.PAUSED
        scheduler.pause_task("a", until=START + 7 * MINUTE)
        scheduler.advance(minutes=5)
        assert outcomes(scheduler)[0] == ("skipped", 6, 6)
        assert len(outcomes(scheduler)) == 1 + 4


@pytest.mark.parametrize(
    "change", [{"trigger": "interval", "minutes": 5}, {"jitter": 0.5}, {"tags": ["x"]}]
)
def test_a_pause_outlasts_edits(url: str, change: dict[str, Any]) -> None:
    with started(url) as scheduler:
        until = START + 20 * MINUTE + MINUTE / 2
        scheduler.pause_task("a", until=until)
        scheduler.advance(minutes=2)
        scheduler.update_task("a", **change)
        assert scheduler.get_task_info("a").paused_until == until
        scheduler.advance(minutes=18)
        assert scheduler.get_task_info("a").schedule_state is ScheduleState.PAUSED
        scheduler.advance(minutes=1)
        assert scheduler.get_task_info("a").schedule_state is ScheduleState.SCHEDULED


def test_a_resume_before_its_end_is_the_end_of_it(url: str) -> None:
    with started(url) as scheduler:
        scheduler.pause_task("a", until=START + 5 * MINUTE)
        scheduler.advance(minutes=2)
        scheduler.resume_task("a")
        scheduler.advance(minutes=4)
        assert [each[0] for each in outcomes(scheduler)] == ["skipped", *["completed"] * 4]


def test_a_pause_that_is_over_already_is_refused() -> None:
    with started("memory://") as scheduler:
        with pytest.raises(TaskConfigurationError, match="is not after now"):
            scheduler.pause_task("a", until=START)
        assert scheduler.get_task_info("a").schedule_state is ScheduleState.SCHEDULED


def test_a_task_that_is_in_no_store_yet_has_no_end_of_its_pause() -> None:
    scheduler = SteppedScheduler(clock=ManualClock(START))
    scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    with pytest.raises(SchedulerStateError, match="connect"):
        scheduler.pause_task("a", until=START + MINUTE)


def test_fires_leave_the_etag_as_it_is_and_edits_do_not(url: str) -> None:
    with started(url) as scheduler:
        first = scheduler.get_task_info("a").etag
        scheduler.advance(minutes=3)
        assert scheduler.get_task_info("a").etag == first
        seen = {first}
        edits: tuple[Callable[[], object], ...] = (
            lambda: scheduler.update_task("a", priority=1),
            lambda: scheduler.pause_task("a"),
            lambda: scheduler.pause_task("a", reason="x"),
            lambda: scheduler.pause_task("a", until=START + 9 * MINUTE),
            lambda: scheduler.resume_task("a"),
            lambda: scheduler.reschedule_task("a", "interval", minutes=2),
        )
        for edit in edits:
            scheduler.advance(seconds=1)
            edit()
            etag = scheduler.get_task_info("a").etag
            assert etag not in seen
            seen.add(etag)


def test_who_looked_at_something_older_changes_nothing(url: str) -> None:
    with started(url) as scheduler:
        old = scheduler.get_task_info("a").etag
        scheduler.update_task("a", priority=1, etag=old)
        now = scheduler.get_task_info("a")
        edits: tuple[Callable[[], object], ...] = (
            lambda: scheduler.update_task("a", priority=2, etag=old),
            lambda: scheduler.update_task("a", next_run_time=None, etag=old),
            lambda: scheduler.reschedule_task("a", "interval", etag=old, minutes=2),
            lambda: scheduler.pause_task("a", etag=old),
            lambda: scheduler.resume_task("a", etag=old),
            lambda: scheduler.remove_task("a", etag=old),
        )
        for edit in edits:
            with pytest.raises(StaleEditError, match="changed by somebody else"):
                edit()
            assert scheduler.get_task_info("a") == now
        scheduler.remove_task("a", etag=now.etag)
        assert scheduler.get_tasks() == []


def test_a_change_can_be_looked_at_before_it_is_made(url: str) -> None:
    with started(url) as scheduler:
        here = scheduler.get_task_info("a")
        before, after, fires = scheduler.preview_update(
            "a", trigger="interval", minutes=5, tags=["x"], count=2
        )
        assert before == here == scheduler.get_task_info("a")
        assert (after.tags, after.trigger_description) == (("x",), "every 5 minutes")
        assert fires == [START + 5 * MINUTE, START + 10 * MINUTE]
        with pytest.raises(TaskConfigurationError, match="ids don't change"):
            scheduler.preview_update("a", id="b")
