"""What users write; it must pass mypy --strict as it stands, and is never run."""

from datetime import UTC, datetime, timedelta
from typing import assert_type

from tickwork import (
    AsyncIOScheduler,
    CronTrigger,
    IntervalTrigger,
    OrTrigger,
    Run,
    RunInfo,
    Scheduler,
    SchedulerInfo,
    Task,
    TaskError,
    TaskInfo,
    parse_interval,
)
from tickwork.events import RunFailed, TaskEvent
from tickwork.testing import ManualClock, SteppedScheduler

scheduler = Scheduler("sqlite:///tasks.db", timezone="Europe/Berlin")
other = AsyncIOScheduler(
    stores={"default": "memory://", "archive": {"type": "memory"}},
    executors={"pool": {"type": "threadpool", "max_workers": 4}},
    task_defaults={"max_instances": 2},
)


@scheduler.task(every="5m")
def clean() -> None: ...


@scheduler.task("cron", hour=8, tags=["daily"])
def report(name: str = "all") -> int:
    return len(name)


@scheduler.task(at="2026-12-24 18:00")
async def wish() -> str:
    return "merry"


@scheduler.add_task(trigger="interval", minutes=5)
def added() -> None: ...


@scheduler.on(RunFailed)
def failed(event: RunFailed) -> None:
    print(event.task_id, event.error, event.fire_time)


@scheduler.on(TaskEvent)
async def changed(event: TaskEvent) -> None:
    print(event.task_id)


def use() -> None:
    # Decorated functions are what they were.
    assert_type(report("all"), int)
    clean()
    task = scheduler.add_task(report, "interval", minutes=5, args=["x"], id="a")
    assert_type(task, Task)
    assert_type(task.id, str)
    assert_type(task.next_run_time, datetime | None)
    assert_type(task.update(name="x").reschedule("cron", hour=3).pause().resume(), Task)
    assert_type(task.run(), Run)
    assert_type(task.run().snapshot(), RunInfo)
    assert_type(task.snapshot(), TaskInfo)
    assert_type(scheduler.snapshot(), SchedulerInfo)
    assert_type(scheduler.get_tasks(tag="x", sort="-id"), list[TaskInfo])
    assert_type(scheduler.get_runs(status="failed", since=datetime.now(UTC)), list[RunInfo])  # noqa: TID251  type-checked, never run
    assert_type(scheduler.preview(task, 3), list[datetime])
    assert_type(parse_interval("5m"), float)
    scheduler.add_task("shop:close", OrTrigger([CronTrigger(hour=8), IntervalTrigger(hours=1)]))
    scheduler.add_task(Task(report, "interval", minutes=1), replace_existing=True)
    scheduler.add_tasks([Task(clean, every=timedelta(hours=1)), {"fn": clean, "cron": "* * * * *"}])
    scheduler.on(RunFailed, failed)
    scheduler.off(RunFailed, failed)
    if scheduler.stop(timeout=5).clean:
        raise TaskError("no_stock", "nothing left", {"item": 5})
    with scheduler, other.connect() as client:
        client.remove_task("a")
    with SteppedScheduler(clock=ManualClock()) as stepped:
        stepped.advance(hours=3)
        stepped.advance(timedelta(days=1))


async def use_async() -> None:
    async with scheduler as running:
        await running.aio.add_task(wish)
        assert_type(await wish(), str)
