"""The names of Nexios' tasks: `setup_tasks`, `create_task`, `TaskManager` and what belongs to them.

What is a task there is a run here. A manager starts when it is needed, and stops with its loop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import wraps
from types import SimpleNamespace
from typing import Any, Self

from tickwork.compat.hosting import dependency, host, start_with_loop
from tickwork.errors import InvalidInputError, RunNotFoundError, SchedulerStateError, TaskError
from tickwork.model.callables import is_coroutine_callable
from tickwork.model.current import current_run
from tickwork.model.policies import RunState as TaskStatus
from tickwork.model.provided import provided
from tickwork.scheduler.config import SchedulerConfig
from tickwork.scheduler.run import Run
from tickwork.scheduler.scheduler import Scheduler

__all__ = [
    "Task",
    "TaskConfig",
    "TaskDependency",
    "TaskError",
    "TaskFailure",
    "TaskManager",
    "TaskStatus",
    "create_task",
    "setup_tasks",
    "update_task_progress",
    "wait_for_task",
]

_OURS = SchedulerConfig()
_WORDS = {
    "max_concurrent_tasks": "max_concurrent_runs",
    "task_result_ttl": "result_ttl",
    "max_task_history": "max_history",
}


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The settings of a manager; `max_task_history` is how many runs are kept of each function."""

    max_concurrent_tasks: int | None = _OURS.max_concurrent_runs
    default_timeout: float | timedelta | None = _OURS.default_timeout
    task_result_ttl: float | timedelta = _OURS.result_ttl
    enable_task_history: bool = True
    log_level: str | int = _OURS.log_level
    cleanup_interval: float | timedelta = _OURS.cleanup_interval
    max_task_history: int = _OURS.max_history

    def scheduler(self) -> Scheduler:
        """Return a scheduler with these settings, on a store in memory."""
        said = {_WORDS.get(name, name): value for name, value in asdict(self).items()}
        keep = "all" if said.pop("enable_task_history") else "none"
        return Scheduler(config=SchedulerConfig(**said), task_defaults={"keep": keep})


class TaskFailure(SimpleNamespace):
    """Why a task failed: `type`, `message`, `traceback`, and of a `TaskError` the other two."""

    code: str | None = None
    details: dict[str, Any] | None = None

    def __str__(self) -> str:
        return str(self.message)


class Task(Run):
    """A run under Nexios' name for it."""

    @property
    def error(self) -> TaskFailure | None:  # type: ignore[override]  # the same, as an object
        """Why it failed, if it did."""
        error = super().error
        return None if error is None else TaskFailure(**error)

    @property
    def progress(self) -> float:  # type: ignore[override]  # the percentage of it
        """How many percent it said to have done."""
        return (super().progress or {}).get("percent") or 0.0


class TaskManager:
    """Executes functions in the background, on a scheduler that is given or made of a config."""

    def __init__(
        self, config: TaskConfig | None = None, *, scheduler: Scheduler | None = None
    ) -> None:
        self.scheduler = scheduler or (config or TaskConfig()).scheduler()
        self._stopping: asyncio.Task[None] | None = None

    async def create_task(
        self, func: Callable[..., Any], *args: Any, name: str | None = None, **kwargs: Any
    ) -> Task:
        """Execute a function soon; one with a parameter `task_id` is told it."""
        self._stopping = await start_with_loop(self.scheduler) or self._stopping
        filled = provided(func, args, kwargs, task_id="", run_id="").keys() - kwargs.keys()
        if "task_id" in filled and not self.scheduler._stores["default"].persistent:  # noqa: SLF001  who makes and knows it
            func = _told(func)
        options = {} if name is None else {"name": name}
        return self._task(await self.scheduler.options(**options).aio.submit(func, *args, **kwargs))

    create = create_task

    def _task(self, run: Any) -> Task:
        return Task(self.scheduler, run.id, run.task_id, run.store, name=run.name)

    def get_task(self, task_id: str) -> Task | None:
        """Return a task, or None where there is none."""
        with suppress(RunNotFoundError):
            return self._task(self.scheduler.connect().get_run(task_id))
        return None

    def list_tasks(self) -> list[Task]:
        """Return all tasks, the oldest first."""
        found = self.scheduler.connect().get_runs(source="manual", limit=1_000_000)
        return [self._task(run) for run in reversed(found)]

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a task; whether there was anything left to cancel."""
        task = await asyncio.to_thread(self.get_task, task_id)
        return task is not None and bool(await task.aio.cancel())

    async def wait_for_task(self, task_id: str, timeout: float | None = None) -> Task:
        """Wait until a task is over, however it ends; see `Run.wait`."""
        await self.scheduler.aio.connect()
        task = self._task(await self.scheduler.aio.get_run(task_id))
        await task.aio.wait(timeout)
        return task

    async def __aenter__(self) -> Self:
        await self.scheduler.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
        await self.scheduler.__aexit__(*raised)


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gets the id of its run as `task_id`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        told = {"task_id": current_run().id} if "task_id" in kwargs else {}
        return function(*args, **{**kwargs, **told})

    async def call_on_loop(*args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)

    return wraps(function)(call_on_loop if is_coroutine_callable(function) else call)


def setup_tasks(
    app: Any, config: TaskConfig | None = None, *, scheduler: Scheduler | None = None
) -> TaskManager:
    """Give an application a manager, which starts and stops with it; return that."""
    manager = TaskManager(config, scheduler=scheduler)
    host(app, manager.scheduler)
    app.state.task_manager, app.state.tickwork = manager, manager.scheduler
    return manager


def _manager_of(request: Any) -> TaskManager:
    manager = getattr(request.app.state, "task_manager", None)
    if not isinstance(manager, TaskManager):
        raise SchedulerStateError("this application has no task manager: call setup_tasks(app)")
    return manager


async def create_task(request: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Task:
    """Execute a function soon, on the manager of the request's application."""
    return await _manager_of(request).create_task(func, *args, **kwargs)


async def wait_for_task(request: Any, task_id: str, timeout: float | None = None) -> Task:
    """Wait for a task of the manager of the request's application."""
    return await _manager_of(request).wait_for_task(task_id, timeout)


async def update_task_progress(task_id: str, progress: float) -> None:
    """Say how many percent the task around this call has done; it speaks for itself only."""
    run = current_run()
    if task_id not in {run.id, run.task_id}:
        raise InvalidInputError(f"this is the task {run.id!r}, which can't speak for {task_id!r}")
    run.progress(progress)


def TaskDependency() -> Any:  # noqa: N802  a class there
    """Return what makes FastAPI pass the application's manager, which has `create`."""
    return dependency(_manager_of)
