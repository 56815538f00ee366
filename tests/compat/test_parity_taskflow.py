"""What fastapi-taskflow's users had, row by row of docs/coming_from.md."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.compat import jobs
from tests.compat.stepping import advance, summary
from tickwork import current_run
from tickwork.compat.taskflow import TaskConfig, TaskManager
from tickwork.errors import TaskConfigurationError
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler

BERLIN = "Europe/Berlin"


@pytest.fixture
def manager() -> TaskManager:
    return TaskManager(SteppedScheduler())


def scheduler_of(manager: TaskManager) -> Any:
    return manager.scheduler


def test_every_so_many_seconds(manager: TaskManager) -> None:
    manager.schedule(every=300, id="ours as well", tags=["ticks"])(jobs.tick)
    with scheduler_of(manager) as scheduler:
        scheduler.advance(minutes=14)
        assert [due for _, _, due in summary(scheduler)] == ["01 00:05:00", "01 00:10:00"]
        assert manager.entries[0].task.snapshot().tags == ("ticks",)


def test_cron_follows_the_clocks_of_its_time_zone() -> None:
    clock = ManualClock(datetime(2026, 3, 28, 12, tzinfo=UTC))
    manager = TaskManager(SteppedScheduler(clock=clock))
    # Half past two doesn't exist on the 29th: clocks are set forward over it.
    manager.schedule(cron="30 2 * * *", timezone=BERLIN)(jobs.tick)
    with scheduler_of(manager) as scheduler:
        scheduler.advance(days=2)
        assert [due for _, _, due in summary(scheduler)] == ["29 01:00:00", "30 00:30:00"]


def test_exactly_one_of_every_and_cron(manager: TaskManager) -> None:
    with pytest.raises(ValueError, match="Either 'interval' or 'cron' must be provided"):
        manager.schedule()
    with pytest.raises(ValueError, match="Only one of 'interval' or 'cron' can be provided"):
        manager.schedule(every=5, cron="* * * * *")
    with pytest.raises(TaskConfigurationError):
        manager.schedule()
    with pytest.raises(ValueError, match="Interval must be positive"):
        manager.schedule(every=0)
    assert manager.entries == []


def test_it_runs_at_the_start_when_told(manager: TaskManager) -> None:
    manager.schedule(every=300, run_on_startup=True)(jobs.tick)
    manager.schedule(cron="0 9 * * *", run_on_startup=True, name="report")(jobs.blink)
    with scheduler_of(manager) as scheduler:
        scheduler.advance(minutes=6)
        assert sorted(summary(scheduler)) == [
            ("report", "completed", "01 00:00:00"),
            ("tick", "completed", "01 00:00:00"),
            ("tick", "completed", "01 00:05:00"),
        ]


def test_retries_wait_longer_each_time(manager: TaskManager) -> None:
    @manager.schedule(every=3600, retries=3, delay=10, backoff=2.0)
    def flaky() -> int:
        if current_run().attempt < 4:
            raise ConnectionError
        return current_run().attempt

    with scheduler_of(manager) as scheduler:
        scheduler.advance(hours=1, minutes=2)
        (run,) = scheduler.get_runs()
        assert (run.result, [error["at"][14:19] for error in run.errors]) == (
            4,
            ["00:00", "00:10", "00:30"],
        )
        assert f"{run.completed_at:%H:%M:%S}" == "01:01:10"
    assert manager.entries[0].config == TaskConfig(retries=3, delay=10, backoff=2.0)


def test_it_is_enqueued_by_hand_with_its_retries(manager: TaskManager) -> None:
    manager.schedule(every=3600, retries=1)(jobs.fail)
    with scheduler_of(manager) as scheduler:
        task_id = manager.add_task(jobs.fail)
        plain = manager.add_task(jobs.add, 1, b=2)
        scheduler.step()
        assert scheduler.get_run(task_id).attempt == 2
        failed, added = manager.get_task(task_id), manager.get_task(plain)
        assert failed is not None
        assert added is not None
        assert (failed.status, failed.error, added.result) == ("failed", "no luck", 3)
        assert manager.get_task("unknown") is None


def test_the_source_says_why(manager: TaskManager) -> None:
    manager.schedule(every=60, run_on_startup=True)(jobs.tick)
    with scheduler_of(manager) as scheduler:
        scheduler.advance(seconds=60)
        manager.add_task(jobs.tick)
        scheduler.step()
        records = [(each.source, each.to_dict()["source"]) for each in manager.list_tasks()]
        assert records == [("manual",) * 2, ("scheduled",) * 2, ("scheduled",) * 2]
        ours = [run.source.value for run in scheduler.get_runs()]
        assert ours == ["manual", "scheduled", "startup"]


def test_an_entry_knows_its_next_run(manager: TaskManager) -> None:
    manager.schedule(every=300, name="clean up")(jobs.tick)
    (entry,) = manager.entries
    assert (entry.func, entry.every, entry.config.name) == (jobs.tick, 300, "clean up")
    with scheduler_of(manager) as scheduler:
        assert entry.next_run == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
        scheduler.advance(minutes=7)
        assert entry.next_run == datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


def test_a_schedule_lock_is_given_once() -> None:
    clock, store = ManualClock(), MemoryStore()
    both = [TaskManager(SteppedScheduler(store, clock=clock)) for _ in range(2)]
    for manager in both:
        manager.scheduler.start()

    async def ask() -> list[bool]:
        return [await manager.acquire_schedule_lock("schedule:tick", 60) for manager in both]

    assert asyncio.run(ask()) == [True, False]
    assert store.acquire_schedule_lock("schedule:tick", 60) is False
    clock.advance(seconds=60)
    assert store.acquire_schedule_lock("schedule:tick", 60) is True
    for manager in both:
        manager.scheduler.stop()


def test_two_instances_fire_once() -> None:
    clock, store = ManualClock(), MemoryStore()
    both = [TaskManager(SteppedScheduler(store, clock=clock)) for _ in range(2)]
    for manager in both:
        manager.schedule(every=60)(jobs.tick)
        manager.scheduler.start()
    schedulers = [manager.scheduler for manager in both]
    advance(clock, schedulers, minutes=20)
    assert len(jobs.calls) == 20
    for scheduler in schedulers:
        scheduler.stop()


def test_a_restart_keeps_the_phase(tmp_path: Path) -> None:
    clock = ManualClock()
    for _ in range(3):
        manager = TaskManager(SteppedScheduler(f"sqlite:///{tmp_path}/tasks.db", clock=clock))
        manager.schedule(every=600)(jobs.tick)
        with scheduler_of(manager) as scheduler:
            scheduler.advance(minutes=4)
    assert len(jobs.calls) == 1


def test_an_application_starts_and_stops_it() -> None:
    manager = TaskManager()
    app = FastAPI(lifespan=manager.lifespan)

    @app.post("/")
    def post() -> str:
        return manager.add_task(jobs.add, 1)

    with TestClient(app) as client:
        run = manager.scheduler.get_run(client.post("/").json())
        assert (run.source, app.state.tickwork) == ("manual", manager.scheduler)

    async def main() -> str:
        async with manager:
            return manager.scheduler.state

    assert (asyncio.run(main()), manager.scheduler.state) == ("started", "new")
