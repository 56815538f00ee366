"""Who listens is told, in order; whoever fails at it hurts nobody."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork.events import (
    Event,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunMissed,
    RunSkipped,
    RunStarted,
    SchedulerEvent,
    SchedulerStarted,
    TaskAdded,
    TaskEvent,
)
from tickwork.testing import SteppedScheduler

START = datetime(2026, 1, 1, tzinfo=UTC)


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_what_happens_to_tasks_is_told(home: Home) -> None:
    heard: list[Event] = []
    scheduler = home.start()
    scheduler.on(TaskEvent, heard.append)
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    task.update(name="b")
    task.reschedule("interval", minutes=2)
    task.pause()
    task.resume()
    scheduler.add_task(jobs.note, "interval", minutes=2, id="a", replace_existing=True)
    task.remove()
    scheduler.step()
    assert names(heard) == [
        "TaskAdded", "TaskChanged", "TaskChanged", "TaskPaused", "TaskResumed", "TaskChanged",
        "TaskRemoved",
    ]  # fmt: skip
    assert {(event.task_id, event.store) for event in heard if isinstance(event, TaskEvent)} == {
        ("a", "default")
    }


def test_what_happens_to_runs_is_told(home: Home) -> None:
    heard: list[Any] = []
    scheduler = home.start()
    scheduler.on(RunEvent, heard.append)
    scheduler.add_task(jobs.add, every="1m", id="good", args=[1])
    scheduler.add_task(jobs.fail, "date", run_at=START + timedelta(seconds=90), id="bad")
    scheduler.advance(minutes=2)
    told = [(type(event).__name__, event.task_id) for event in heard]
    assert told == [
        ("RunStarted", "good"), ("RunCompleted", "good"),
        ("RunStarted", "bad"), ("RunFailed", "bad"),
        ("RunStarted", "good"), ("RunCompleted", "good"),
    ]  # fmt: skip
    completed, failed = heard[1], heard[3]
    assert (completed.result, completed.error, completed.attempt) == (2, None, 1)
    assert completed.fire_time == START + timedelta(minutes=1)
    assert failed.error == "RuntimeError: the disk is full"
    assert completed.run_id == scheduler.get_runs(task="good")[-1].id


def test_what_is_not_executed_is_told(home: Home) -> None:
    heard: list[Any] = []
    scheduler = home.start()
    scheduler.on(RunMissed, heard.append)
    scheduler.on(RunSkipped, heard.append)
    scheduler.add_task(jobs.note, every="1m", id="a", misfire_grace_time=30)
    home.clock.advance(minutes=3, seconds=45)
    scheduler.step()
    assert names(heard) == ["RunMissed"]
    assert heard[0].fire_count == 3


def test_what_happens_to_the_scheduler_is_told(home: Home) -> None:
    heard: list[Any] = []
    scheduler = home.new()
    scheduler.on(SchedulerEvent, heard.append)
    scheduler.start()
    scheduler.pause()
    scheduler.pause()
    scheduler.resume()
    scheduler.stop()
    assert names(heard) == [
        "SchedulerStarted", "SchedulerPaused", "SchedulerResumed", "SchedulerStopped",
    ]  # fmt: skip
    assert all(event.at == START for event in heard)


def test_a_listener_may_be_a_decorated_function_and_be_taken_off(memory_home: Home) -> None:
    scheduler = memory_home.start()
    heard: list[str] = []

    @scheduler.on(TaskAdded)
    def listen(event: TaskAdded) -> None:
        heard.append(event.task_id)

    assert scheduler.on(TaskAdded, listen) is listen
    scheduler.add_task(jobs.note, id="a")
    scheduler.step()
    assert heard == ["a", "a"]
    scheduler.off(TaskAdded, listen)
    scheduler.off(RunFailed, listen)
    scheduler.add_task(jobs.note, id="b")
    scheduler.step()
    assert heard == ["a", "a"]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), KeyboardInterrupt()])
def test_a_failing_listener_hurts_nobody(error: BaseException, memory_home: Home) -> None:
    heard: list[Any] = []

    def fail(_: Event) -> None:
        raise error

    async def fail_async(_: Event) -> None:
        raise error

    scheduler = memory_home.new()
    scheduler.on(Event, fail)
    scheduler.on(Event, fail_async)
    scheduler.on(RunCompleted, heard.append)
    scheduler.start()
    scheduler.add_task(jobs.note, every="1m", id="a")
    scheduler.advance(minutes=3)
    scheduler.stop()
    assert len(heard) == len(jobs.calls) == 3


def test_a_coroutine_listener_is_heard_without_a_loop_of_the_application(
    memory_home: Home,
) -> None:
    heard: list[Any] = []

    async def listen(event: RunStarted) -> None:
        await asyncio.sleep(0)  # noqa: TID251  a turn of the loop, not time
        heard.append(event)

    scheduler = memory_home.start()
    scheduler.on(RunStarted, listen)
    scheduler.add_task(jobs.note, every="1m")
    scheduler.advance(minutes=2)
    assert len(heard) == 2


def test_a_coroutine_listener_runs_on_the_loop_of_the_application() -> None:
    async def use() -> None:
        loops: list[Any] = []

        async def listen(_: Event) -> None:
            loops.append(asyncio.get_running_loop())

        scheduler = SteppedScheduler()
        scheduler.on(SchedulerStarted, listen)
        scheduler.on(RunCompleted, listen)
        async with scheduler:
            scheduler.add_task(jobs.note)
            await scheduler.aio.step()
        assert loops == [asyncio.get_running_loop()] * 2

    asyncio.run(use())


def test_a_listener_that_never_returns_does_not_hold_up_the_runs(memory_home: Home) -> None:
    held = threading.Event()
    scheduler = memory_home.start(patience_s=0.2)
    scheduler.on(RunStarted, lambda _: held.wait(10))
    scheduler.add_task(jobs.note, every="1m")
    scheduler.advance(minutes=2)
    assert len(jobs.calls) == 2
    held.set()


def test_a_listener_may_use_the_scheduler(home: Home) -> None:
    scheduler = home.start()

    def chain(event: RunCompleted) -> None:
        if event.task_id == "first":
            scheduler.add_task(jobs.other, id="second")
            scheduler.pause_task("first")

    scheduler.on(RunCompleted, chain)
    scheduler.add_task(jobs.note, every="1m", id="first")
    scheduler.advance(minutes=3)
    assert jobs.calls == [(), ("other",)]
