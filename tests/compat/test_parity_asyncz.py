"""What Asyncz's users had, row by row of docs/coming_from.md."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.compat import jobs
from tests.compat.stepping import advance, stepped, summary
from tickwork import ConflictingTaskError, InvalidReferenceError, Scheduler
from tickwork.compat import asyncz
from tickwork.errors import InvalidArgumentsError, TaskConfigurationError
from tickwork.testing import ManualClock, SteppedScheduler

Stepped = stepped(asyncz.AsyncIOScheduler)


@pytest.fixture
def scheduler() -> Iterator[Any]:
    with Stepped() as scheduler:
        yield scheduler


def test_one_scheduler_for_threads_and_loops(scheduler: Any) -> None:
    scheduler.add_task(jobs.tick, "interval", minutes=1, id="plain")
    scheduler.add_task(jobs.blink, "interval", minutes=1, id="coroutine")
    scheduler.advance(minutes=1)
    assert {(run.task_id, run.executor) for run in scheduler.get_runs(status="completed")} == {
        ("plain", "threadpool"),
        ("coroutine", "asyncio"),
    }
    assert issubclass(asyncz.AsyncIOScheduler, Scheduler)


def test_the_directory_goes_with_its_last_scheduler(tmp_path: Path) -> None:
    folder, clock = tmp_path / "tasks", ManualClock()
    place = {"type": "file", "directory": str(folder), "cleanup_directory": True}
    first, second = (Stepped(stores={"default": place}, clock=clock) for _ in range(2))
    for scheduler in (first, second):
        scheduler.start()
        scheduler.step()
    first.stop()
    assert folder.exists()
    second.stop()
    assert not folder.exists()


def test_the_directory_stays_unless_told_otherwise(tmp_path: Path) -> None:
    with Stepped(stores={"default": {"type": "file", "directory": str(tmp_path)}}) as scheduler:
        scheduler.add_task(jobs.tick, "interval", minutes=1)
    assert [*tmp_path.iterdir()] != []
    with Stepped(stores={"default": {"type": "file", "directory": str(tmp_path)}}) as scheduler:
        assert [task.id for task in scheduler.get_tasks()] == ["tests.compat.jobs:tick"]


@pytest.mark.parametrize("word", ["misfire_grace_time", "mistrigger_grace_time"])
def test_grace_of_a_second(scheduler: Any, word: str) -> None:
    scheduler.add_task(jobs.tick, "interval", minutes=1, id="a second")
    scheduler.add_task(jobs.tick, "interval", minutes=1, id="a minute", **{word: 60})
    scheduler.add_task(jobs.tick, "interval", minutes=1, id="no limit", **{word: None})
    scheduler.clock.advance(seconds=90)
    scheduler.step()
    found = {run.task_id: run.status.value for run in scheduler.get_runs()}
    assert found == {"a second": "missed", "a minute": "completed", "no limit": "completed"}
    wide = Stepped(task_defaults={word: 5})
    assert wide.add_task(jobs.tick, "interval", minutes=1).mistrigger_grace_time == 5


def test_a_task_made_directly_is_submitted(scheduler: Any) -> None:
    task = asyncz.Task(id="a", fn=jobs.tick, scheduler=scheduler, trigger="interval", minutes=5)
    assert scheduler.get_task("a").next_run_time == task.next_run_time
    other = asyncz.Task(id="b", fn=jobs.tick, max_instances=2)
    assert (other.max_instances, other.coalesce, other.args) == (2, True, [])
    added = scheduler.add_task(other, trigger=asyncz.IntervalTrigger(minutes=10))
    assert (added.id, added.max_instances) == ("b", 2)
    scheduler.advance(minutes=10)
    assert len(summary(scheduler, status="completed")) == 3


def test_fields_are_attributes(scheduler: Any) -> None:
    task = scheduler.add_task(
        jobs.add, "interval", minutes=5, args=[1], kwargs={"b": 2}, coalesce=False, name="sum"
    )
    assert (task.fn, task.trigger, task.name) == (jobs.add, "interval", "sum")
    assert (task.args, task.kwargs, task.executor) == ([1], {"b": 2}, "threadpool")
    assert (task.coalesce, task.max_instances, task.mistrigger_grace_time) == (False, 1, 1.0)
    task.update(coalesce=True, mistrigger_grace_time=None)
    again = scheduler.get_task(task.id)
    assert (again.coalesce, again.mistrigger_grace_time) == (True, None)


def test_a_task_is_rescheduled_with_and_without_its_id(scheduler: Any) -> None:
    task = scheduler.add_task(jobs.tick, "interval", minutes=5, id="my-task")
    task.reschedule("my-task", trigger="cron", hour=10, minute=5)
    assert task.next_run_time == datetime(2026, 1, 1, 10, 5, tzinfo=UTC)
    task.reschedule("cron", hour=11)
    assert task.next_run_time == datetime(2026, 1, 1, 11, tzinfo=UTC)
    with pytest.raises(TaskConfigurationError, match="this is the task 'my-task', not 'another'"):
        task.reschedule("another", trigger="cron", hour=10)


def test_the_next_run_time_of_a_task_without_a_scheduler(scheduler: Any) -> None:
    task = asyncz.Task(id="a", fn=jobs.tick, trigger="interval", minutes=5)
    task.update(next_run_time="2026-01-01 00:02")
    added = scheduler.add_task(task)
    assert added.next_run_time == datetime(2026, 1, 1, 0, 2, tzinfo=UTC)


def test_ids_are_immutable(scheduler: Any) -> None:
    task = scheduler.add_task(jobs.tick, "interval", minutes=5, id="my-task")
    with pytest.raises(TaskConfigurationError, match="ids don't change; add a task under the"):
        task.update(id="another")
    with pytest.raises(AttributeError):
        task.id = "another"


def test_a_decorator_submits_copies(scheduler: Any) -> None:
    decorate = scheduler.add_task(trigger="interval", minutes=5, max_instances=3)

    def first() -> None: ...
    def second() -> None: ...

    assert [decorate(function) for function in (first, second)] == [first, second]
    assert [(task.name, task.max_instances) for task in scheduler.get_tasks()] == [
        ("first", 3),
        ("second", 3),
    ]


def test_a_lifecycle_is_one_declaration() -> None:
    with Stepped() as scheduler:
        said = []

        @scheduler.lifecycle(every="5m")
        def life() -> Any:
            said.append("set up")
            running = yield
            while running:
                said.append("tick")
                running = yield
            said.append("clean up")

        scheduler.advance(minutes=12)
    assert said == ["set up", "tick", "tick", "clean up"]


def test_a_generator_needs_a_store_in_memory(scheduler: Any, tmp_path: Path) -> None:
    def numbers() -> Any:
        while True:
            yield

    generator = numbers()
    generator.send(None)
    send = asyncz.make_function(generator.send)
    scheduler.add_task(send, "interval", minutes=1, args=[True])
    scheduler.advance(minutes=3)
    assert len(summary(scheduler, status="completed")) == 3
    lasting = Stepped(f"sqlite:///{tmp_path}/tasks.db")
    with pytest.raises(InvalidReferenceError, match="numbers"):
        lasting.add_task(send, "interval", minutes=1, args=[True])


def test_a_lock_path_lets_one_scheduler_fire(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "fires_{pgrp}_{store}.lock"
    first, second = (Stepped(lock_path=path, clock=clock) for _ in range(2))
    for scheduler in (first, second):
        scheduler.add_task(jobs.tick, "interval", minutes=1)
        scheduler.start()
    advance(clock, [first, second], minutes=5)
    assert len(jobs.calls) == 5
    assert [len(summary(each, status="completed")) for each in (first, second)] == [5, 0]
    first.stop()
    second.stop()
    assert [file.name for file in tmp_path.iterdir()] == [f"fires_{os.getpgrp()}_default.lock"]


def test_a_file_lock_excludes_others(tmp_path: Path) -> None:
    first, second = (asyncz.FileLockProtected(f"{tmp_path}/a_{{pgrp}}.lock") for _ in range(2))
    with first.protected(False) as mine, second.protected(False) as theirs:
        assert (mine, theirs) == (True, False)
    with second.protected(False) as theirs:
        assert theirs is True


def test_a_snapshot_is_safe_for_json(scheduler: Any) -> None:
    task = scheduler.add_task(jobs.add, "interval", minutes=5, id="add", args=[1])
    info = task.snapshot()
    assert isinstance(info, asyncz.TaskInfo)
    told = json.loads(info.model_dump_json())
    assert (told["id"], told["callable_reference"], told["args"], told["trigger_alias"]) == (
        "add", "tests.compat.jobs:add", [1], "interval",
    )  # fmt: skip


def test_states_are_derived() -> None:
    scheduler = Stepped()
    task = scheduler.add_task(jobs.tick, "date", run_at="2026-01-01 01:00", id="once")
    states = [task.schedule_state]
    with scheduler:
        states.append(task.schedule_state)
        task.pause()
        assert task.paused is True
        states.append(task.schedule_state)
        task.resume()
        scheduler.advance(hours=2)
        states.append(task.schedule_state)
    assert states == ["pending", "scheduled", "paused", "finished"]
    assert asyncz.ScheduleState("paused") is states[2]


def test_arguments_are_data(tmp_path: Path) -> None:
    scheduler = Stepped(f"sqlite:///{tmp_path}/tasks.db")
    with pytest.raises(InvalidArgumentsError, match="can't be stored: pass an id or plain data"):
        scheduler.add_task(jobs.tick, "interval", minutes=1, args=[object()])


def test_the_same_id_twice_is_refused(scheduler: Any) -> None:
    scheduler.add_task(jobs.tick, "interval", minutes=5, id="a")
    scheduler.add_task(jobs.tick, "interval", minutes=5, id="a")
    with pytest.raises(ConflictingTaskError, match="choose another id, or say replace_existing"):
        scheduler.add_task(jobs.tick, "interval", minutes=6, id="a")
    scheduler.add_task(jobs.tick, "interval", minutes=6, id="a", replace_existing=True)
    assert scheduler.get_task("a").snapshot().trigger_description == "every 6 minutes"


def test_stores_are_named_as_there(tmp_path: Path) -> None:
    scheduler = asyncz.AsyncIOScheduler(
        stores={
            "default": asyncz.FileStore(tmp_path),
            "memory": {"type": "memory"},
            "mongo": {"type": "mongodb", "url": "mongodb://nowhere/tasks"},
            "sql": asyncz.SQLAlchemyStore("sqlite:///tasks.db"),
        }
    )
    kinds = scheduler.snapshot().stores
    assert kinds == {
        "default": "file", "memory": "memory", "mongo": "mongo", "sql": "sqlalchemy",
        "local": "memory",
    }  # fmt: skip
    assert isinstance(SteppedScheduler(asyncz.MemoryStore()), Scheduler)
