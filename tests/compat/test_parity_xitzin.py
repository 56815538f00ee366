"""What xitzin's users had, row by row of docs/coming_from.md."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.compat import jobs
from tests.compat.frameworks import Xitzin
from tests.compat.stepping import stepped, summary
from tickwork import InvalidInputError, Scheduler
from tickwork.compat import xitzin
from tickwork.testing import ManualClock, SteppedScheduler


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def scheduler(clock: ManualClock) -> SteppedScheduler:
    return SteppedScheduler(clock=clock)


def test_an_interval_waits_first_and_counts_from_the_end(
    scheduler: SteppedScheduler, clock: ManualClock
) -> None:
    @xitzin.task(scheduler, interval="1h")
    def slow() -> None:
        clock.advance(minutes=10)

    with scheduler:
        scheduler.advance(hours=4)
        assert [due for _, _, due in summary(scheduler)] == [
            "01 01:00:00",
            "01 02:10:00",
            "01 03:20:00",
        ]


@pytest.mark.parametrize(
    ("options", "fires"),
    [
        ({}, [("01", 1), ("04", 3), ("05", 1), ("06", 1)]),
        (
            {"coalesce": "all", "overlap": "queue"},
            [("01", 1), ("02", 1), ("03", 1), ("04", 1), ("05", 1), ("06", 1)],
        ),
    ],
)
def test_cron_folds_what_met_a_running_task(
    scheduler: SteppedScheduler,
    clock: ManualClock,
    options: dict[str, Any],
    fires: list[tuple[str, int]],
) -> None:
    clock.set(datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC))

    @xitzin.task(scheduler, cron="* * * * *", **options)
    def slow() -> None:
        if not jobs.calls:
            clock.advance(minutes=3)
        jobs.calls.append(1)

    with scheduler:
        scheduler.advance(minutes=6)
        runs = reversed(scheduler.get_runs())
        assert [(f"{run.fire_time:%M}", run.fire_count) for run in runs] == fires


def test_intervals_may_be_weeks(scheduler: SteppedScheduler) -> None:
    assert xitzin.parse_interval("1h") == 3600.0
    assert xitzin.parse_interval(" 2W\t") == 1_209_600.0
    unclear: Any
    for unclear in ("60", "1.5h", "", True, float("nan"), None):
        with pytest.raises(ValueError, match=r"^Invalid interval format: "):
            xitzin.parse_interval(unclear)
    for empty in (0, -1, "0s"):
        with pytest.raises(ValueError, match=r"^Interval must be positive"):
            xitzin.parse_interval(empty)


def test_neither_or_both_is_refused(scheduler: SteppedScheduler) -> None:
    words = "Either 'interval' or 'cron' must be provided"
    with pytest.raises(xitzin.TaskConfigurationError, match=words) as told:
        xitzin.task(scheduler)
    assert isinstance(told.value, ValueError)
    words = "Only one of 'interval' or 'cron' can be provided, not both"
    with pytest.raises(xitzin.TaskConfigurationError, match=f"^{words}$"):
        xitzin.task(scheduler, interval="1h", cron="* * * * *")


def test_a_bad_schedule_is_refused_where_it_is_said(scheduler: SteppedScheduler) -> None:
    for schedule in ({"cron": "99 * * * *"}, {"cron": "0 0 30 2 *"}, {"interval": "soon"}):
        with pytest.raises(InvalidInputError):
            xitzin.task(scheduler, **schedule)


@pytest.mark.parametrize(
    ("run", "task", "count"),
    [
        (xitzin.run_interval_task, xitzin.BackgroundTask(jobs.tick, 60.0, None, "tick"), 5),
        # It starts in a minute's first second.
        (xitzin.run_cron_task, xitzin.BackgroundTask(jobs.tick, None, "* * * * *", "tick"), 6),
    ],
)
def test_a_background_task_runs_until_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, run: Any, task: xitzin.BackgroundTask, count: int
) -> None:
    made: asyncio.Queue[Any] = asyncio.Queue()
    begun: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def tell(scheduler: Any) -> None:
            loop.call_soon_threadsafe(made.put_nowait, scheduler)

        monkeypatch.setattr(xitzin, "Scheduler", stepped(Scheduler, tell))
        running = asyncio.create_task(run(task))
        scheduler = await made.get()
        begun.append(scheduler)
        await scheduler.aio.advance(minutes=5, seconds=30)
        assert [task.name for task in scheduler.get_tasks()] == ["tick"]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert (len(jobs.calls), begun[0].state) == (count, "new")


def test_tasks_live_within_the_server() -> None:
    said: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        said.append(f"started, scheduler {app.state.tickwork.state}")
        yield
        said.append(f"stopping, scheduler {app.state.tickwork.state}")

    app = Xitzin(lifespan=lifespan)
    app.task(interval="1h")(jobs.tick)
    app.task(cron="0 2 * * *")(jobs.blink)
    with TestClient(app):
        assert app.state.tickwork.state == "started"
        assert len(app.state.tickwork.get_tasks()) == 2
    assert said == ["started, scheduler new", "stopping, scheduler new"]


def test_other_applications_say_when_they_start(scheduler: SteppedScheduler) -> None:
    handlers: dict[str, Any] = {}
    app = SimpleNamespace(
        state=SimpleNamespace(),
        on_startup=lambda handler: handlers.update(start=handler),
        on_shutdown=lambda handler: handlers.update(stop=handler),
    )
    xitzin.task(app, interval="1h")(jobs.tick)

    async def main() -> list[str]:
        states = [app.state.tickwork.state]
        for handler in handlers.values():
            await handler()
            states.append(app.state.tickwork.state)
        return states

    assert asyncio.run(main()) == ["new", "started", "new"]
    with pytest.raises(xitzin.TaskConfigurationError, match="do it in its lifespan"):
        xitzin.task(SimpleNamespace(state=SimpleNamespace()), interval="1h")


def test_a_failure_stops_nothing(
    scheduler: SteppedScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    xitzin.task(scheduler, interval="1h")(jobs.fail)
    xitzin.task(scheduler, interval="1h")(jobs.tick)
    with scheduler:
        scheduler.advance(hours=3)
        assert len(summary(scheduler, status="failed")) == len(jobs.calls) == 3
    lines = [record.getMessage() for record in caplog.records]
    assert sum(bool(re.search("ValueError: no luck", line)) for line in lines) == 3


def test_a_store_keeps_them(tmp_path: Path, clock: ManualClock) -> None:
    for _ in range(3):
        with SteppedScheduler(f"sqlite:///{tmp_path}/tasks.db", clock=clock) as scheduler:
            app = Starlette()
            app.state.tickwork = scheduler
            xitzin.task(app, interval="1h")(jobs.tick)
            scheduler.advance(minutes=25)
    assert len(jobs.calls) == 1
