"""fastapi-taskflow's names: `TaskManager` with `schedule`, `ScheduledEntry` and `TaskRecord`.

```python
from tickwork.compat.taskflow import TaskManager

task_manager = TaskManager("sqlite:///tasks.db")
app = FastAPI(lifespan=task_manager.lifespan)


@task_manager.schedule(every=300, retries=1)
async def cleanup_expired_sessions() -> None: ...


task_id = task_manager.add_task(cleanup_expired_sessions)  # now, besides
```

A manager is a face of one of our schedulers, `task_manager.scheduler`. The first run of `every` is
one interval after the first start.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

from tickwork.errors import InvalidReferenceError, RunNotFoundError
from tickwork.model.callables import name_of
from tickwork.model.functions import reference_of
from tickwork.model.policies import Source
from tickwork.model.snapshots import RunInfo
from tickwork.scheduler.scheduler import Scheduler
from tickwork.scheduler.task import Task
from tickwork.stores.schedule_locks import ScheduleLocks

__all__ = ["ScheduledEntry", "TaskConfig", "TaskManager", "TaskRecord"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class TaskConfig:
    """How a task is executed: attempts after the first, and the seconds between them."""

    retries: int = 0
    delay: float = 0.0
    backoff: float = 1.0
    name: str | None = None


@dataclass(frozen=True)
class ScheduledEntry:
    """A periodic task; made by `TaskManager.schedule`."""

    func: Callable[..., Any]
    config: TaskConfig
    every: float | None
    cron: str | None
    run_on_startup: bool
    timezone: str
    task: Task = field(repr=False)

    @property
    def next_run(self) -> datetime | None:
        """The next fire time, in UTC."""
        return self.task.next_run_time


@dataclass(frozen=True)
class TaskRecord:
    """A run as it stood when it was asked; its source is "manual" or "scheduled"."""

    task_id: str
    func_name: str
    status: str
    source: str
    created_at: datetime
    start_time: datetime | None
    end_time: datetime | None
    result: Any
    error: str | None

    @classmethod
    def of(cls, run: RunInfo) -> Self:
        """Return a run as a record; what is asked for by a start, its schedule asks for."""
        return cls(
            task_id=run.id,
            func_name=run.name,
            status=run.status.value,
            source="manual" if run.source is Source.MANUAL else "scheduled",
            created_at=run.created_at,
            start_time=run.started_at,
            end_time=run.completed_at,
            result=run.result,
            error=None if run.error is None else run.error["message"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, with times as text."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


class TaskManager:
    """Periodic tasks, and tasks in the background, of one scheduler.

    It is given, or made of what `Scheduler` is made of: a store or its URL, and options.
    """

    def __init__(self, scheduler: Any = None, **options: Any) -> None:
        made = isinstance(scheduler, Scheduler)
        self.scheduler = scheduler if made else Scheduler(scheduler, **options)
        self.entries: list[ScheduledEntry] = []

    def lifespan(self, app: Any = None) -> AbstractAsyncContextManager[None]:
        """Be started for as long as an application lives: `FastAPI(lifespan=manager.lifespan)`."""
        return self.scheduler.lifespan(app)

    def schedule(
        self,
        *,
        every: float | None = None,
        cron: str | None = None,
        retries: int = 0,
        delay: float = 0.0,
        backoff: float = 1.0,
        name: str | None = None,
        run_on_startup: bool = False,
        timezone: str = "UTC",
        **options: Any,
    ) -> Callable[[F], F]:
        """Return a decorator for a periodic task; more `options` are those of `Scheduler.task`.

        Raises:
            TaskConfigurationError: neither `every` nor `cron` is given, or both: a ValueError.
        """
        said = {"every": every, "cron": cron, "timezone": None if cron is None else timezone}
        config = TaskConfig(retries=retries, delay=delay, backoff=backoff, name=name)
        when: dict[str, Any] = {word: value for word, value in said.items() if value is not None}
        how = {**asdict(config), "run_on_startup": run_on_startup, **options}
        self.scheduler.task(**when, **how)  # what can't work is refused here, not when it is used

        def decorate(function: F) -> F:
            task_id = options.get("id") or _id_of(function)
            self.scheduler.task(**when, **{**how, "id": task_id})(function)
            task = self.scheduler.get_task(task_id)
            self.entries.append(
                ScheduledEntry(function, config, every, cron, run_on_startup, timezone, task)
            )
            return function

        return decorate

    def add_task(self, func: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> str:
        """Execute a function soon, with the options of its schedule if it has one; return an id."""
        return self.scheduler.submit(func, *args, **kwargs).id

    def get_task(self, task_id: str) -> TaskRecord | None:
        """Return how a task in the background stands, or None where there is none."""
        try:
            return TaskRecord.of(self.scheduler.get_run(task_id))
        except RunNotFoundError:
            return None

    def list_tasks(self, *, limit: int = 100) -> list[TaskRecord]:
        """Return the newest records first, of schedules as well."""
        return [TaskRecord.of(run) for run in self.scheduler.get_runs(limit=limit)]

    async def acquire_schedule_lock(self, key: str, ttl: float) -> bool:
        """Return whether nobody else has a key, or gets it within `ttl` seconds."""
        store = self.scheduler.locks_at("default").store
        return await asyncio.to_thread(ScheduleLocks.acquire_schedule_lock, store, key, ttl)

    async def __aenter__(self) -> Self:
        await self.scheduler.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.scheduler.__aexit__(*raised)


def _id_of(function: Callable[..., Any]) -> str:
    """Return the id that our decorator gives a task."""
    try:
        return reference_of(function, verify=False)
    except InvalidReferenceError:
        return f"{function.__module__}:{name_of(function)}"
