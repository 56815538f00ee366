"""Asyncz's names: its schedulers, `Task`, triggers, stores, locks and `make_function`.

```python
from tickwork.compat.asyncz import AsyncIOScheduler, CronTrigger, Task

scheduler = AsyncIOScheduler(stores={"default": {"type": "file", "directory": "tasks"}})
task = Task(id="my-task", fn=check_status, scheduler=scheduler, trigger=CronTrigger(hour=8))
task.reschedule("my-task", trigger="cron", hour=10, minute=5)
scheduler.start()
```

What was in `asyncz.schedulers`, `.tasks`, `.triggers`, `.stores`, `.locks` and `.utils` is here. A
fire time that is late by more than a second is missed, as there; `mistrigger_grace_time` or
`task_defaults` say otherwise.
"""

import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tickwork.compat.fields import GRACE_S, FieldedTask, described
from tickwork.coordination import FileLockProtected
from tickwork.errors import TaskConfigurationError
from tickwork.interfaces import Store, Trigger
from tickwork.model.policies import ScheduleState
from tickwork.model.snapshots import TaskInfo
from tickwork.scheduler import scheduler as core
from tickwork.scheduler.lifecycle import make_function
from tickwork.scheduler.task import Task as CoreTask
from tickwork.stores import file
from tickwork.stores.memory import MemoryStore
from tickwork.triggers import (
    AndTrigger,
    CronTrigger,
    DateTrigger,
    IntervalTrigger,
    OrTrigger,
    ShutdownTrigger,
)

__all__ = [
    "AndTrigger",
    "AsyncIOScheduler",
    "CronTrigger",
    "DateTrigger",
    "FileLockProtected",
    "FileStore",
    "IntervalTrigger",
    "MemoryStore",
    "OrTrigger",
    "ScheduleState",
    "ShutdownTrigger",
    "Task",
    "TaskInfo",
    "make_function",
]

_WITH_DRIVERS = {
    "MongoDBStore": "tickwork.stores.mongo:MongoStore",
    "RedisStore": "tickwork.stores.redis:RedisStore",
    "SQLAlchemyStore": "tickwork.stores.sql:SQLStore",
}
"""Stores that are imported when they are asked for, since each needs its driver."""


def __getattr__(name: str) -> Any:
    if name not in _WITH_DRIVERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, kind = _WITH_DRIVERS[name].partition(":")
    return getattr(import_module(module), kind)


class Task(FieldedTask):
    """A task: with `scheduler=` it is submitted at once, without by `scheduler.add_task(task)`."""

    @property
    def mistrigger_grace_time(self) -> float | None:
        """Seconds after which a fire time is too late; None for no limit."""
        if not self.store and "mistrigger_grace_time" in self.options:
            return float(self.options["mistrigger_grace_time"])
        return self.misfire_grace_time

    def reschedule(  # type: ignore[override]  # the trigger may come first, too
        self,
        task_id: Trigger | str | None = None,
        trigger: Trigger | str | None = None,
        **trigger_arguments: Any,
    ) -> Self:
        """Change the trigger; the id in front is this task's, or left out.

        Raises:
            TaskConfigurationError: it is another task's.
        """
        if trigger is None:
            task_id, trigger = None, task_id
        if task_id is not None and task_id != self.id:
            raise TaskConfigurationError(f"this is the task {self.id!r}, not {task_id!r}")
        super().reschedule(trigger, **trigger_arguments)
        self.trigger = trigger
        return self


class AsyncIOScheduler(core.AsyncIOScheduler):
    """A scheduler with a grace of one second; options are those of `tickwork.Scheduler`."""

    def __init__(
        self,
        store: str | Mapping[str, Any] | Store | None = None,
        *,
        stores: Mapping[str, Any] | None = None,
        task_defaults: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            _store(store),
            stores=stores and {name: _store(each) for name, each in stores.items()},
            task_defaults={"misfire_grace_time": GRACE_S, **(task_defaults or {})},
            **options,
        )

    def add_task(
        self,
        fn: Callable[..., Any] | str | CoreTask | None = None,
        trigger: Trigger | str | None = None,
        **options: Any,
    ) -> Task:
        """Add a task, or return a decorator where there is no function."""
        added = super().add_task(fn, trigger, **options)
        if not added.store:
            return Task(None, added.trigger, scheduler=self, **added.options)
        if isinstance(fn, CoreTask):
            trigger, fn = trigger or fn.trigger, fn.fn
        return Task.at(self, added.store, added.id, fn=fn, trigger=trigger)

    def get_task(self, task_id: str, *, store: str | None = None) -> Task:
        """Return a task.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        return Task.at(self, super().get_task(task_id, store=store).store, task_id)


class FileStore(file.FileStore):
    """Keeps tasks in files of a directory, which the last one who stops may remove."""

    def __init__(
        self, directory: str | Path, *, cleanup_directory: bool = False, **options: Any
    ) -> None:
        super().__init__(directory, **options)
        self._cleanup_directory = cleanup_directory

    def close(self) -> None:
        """Close it; with `cleanup_directory` remove it, unless another scheduler works in it."""
        alone = self._cleanup_directory and self._is_alone()
        super().close()
        if alone:
            shutil.rmtree(self.path, ignore_errors=True)

    def _is_alone(self) -> bool:
        if self._folder is None:
            return False
        now_us = self._folder.environment.now_us()
        return all(node.expires_us <= now_us for node in self.nodes())


def _store(where: Any) -> Any:
    """Return a store as ours are described; a directory may be one that goes at the end."""
    options = described(where)
    if isinstance(options, Mapping) and options["type"] == "file" and "directory" in options:
        return FileStore(**{name: value for name, value in options.items() if name != "type"})
    return options
