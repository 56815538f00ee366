"""The manager of Nexios' tasks, over a scheduler of ours."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from tickwork.compat.nexios.tasks import Task, told
from tickwork.errors import RunNotFoundError, SchedulerStateError
from tickwork.model.policies import Keep, Source
from tickwork.scheduler.config import SchedulerConfig
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["TaskConfig", "TaskManager"]

_MANY = 1_000_000
_OURS = SchedulerConfig()


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The settings of a manager; durations are seconds.

    `max_task_history` is how many runs of each function are kept when they are over.
    """

    max_concurrent_tasks: int | None = _OURS.max_concurrent_runs
    default_timeout: float | timedelta | None = _OURS.default_timeout
    task_result_ttl: float | timedelta = _OURS.result_ttl
    enable_task_history: bool = True
    log_level: str | int = _OURS.log_level
    cleanup_interval: float | timedelta = _OURS.cleanup_interval
    max_task_history: int = _OURS.max_history

    def scheduler(self) -> Scheduler:
        """Return a scheduler with these settings, on a store in memory."""
        config = SchedulerConfig(
            max_concurrent_runs=self.max_concurrent_tasks,
            default_timeout=self.default_timeout,
            result_ttl=self.task_result_ttl,
            max_history=self.max_task_history,
            cleanup_interval=self.cleanup_interval,
            log_level=self.log_level,
        )
        keep = Keep.ALL if self.enable_task_history else Keep.NONE
        return Scheduler(config=config, task_defaults={"keep": keep})


class TaskManager:
    """Executes functions in the background, on a scheduler that is given or made of a config."""

    def __init__(
        self, config: TaskConfig | None = None, *, scheduler: Scheduler | None = None
    ) -> None:
        self.scheduler = scheduler or (config or TaskConfig()).scheduler()
        self._keeper: asyncio.Task[None] | None = None

    async def create_task(
        self, func: Callable[..., Any], *args: Any, name: str | None = None, **kwargs: Any
    ) -> Task:
        """Execute a function soon; one with a parameter `task_id` is told it."""
        await self._begin()
        if not self.scheduler._stores["default"].persistent:  # noqa: SLF001  who makes and knows it
            func = told(func, kwargs)
        options = {} if name is None else {"name": name}
        run = await self.scheduler.options(**options).aio.submit(func, *args, **kwargs)
        return Task.of(self.scheduler, run)

    create = create_task

    async def _begin(self) -> None:
        if self.scheduler.state in {"new", "connected"}:
            with suppress(SchedulerStateError):  # another call was quicker
                await self.scheduler.aio.start()
                self._keeper = asyncio.create_task(self._end_with_loop())

    async def _end_with_loop(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self.scheduler.aio.stop()

    def get_task(self, task_id: str) -> Task | None:
        """Return a task, or None where there is none."""
        self.scheduler.connect()
        try:
            return Task.of(self.scheduler, self.scheduler.get_run(task_id))
        except RunNotFoundError:
            return None

    def list_tasks(self) -> list[Task]:
        """Return all tasks, the oldest first."""
        found = self.scheduler.connect().get_runs(source=Source.MANUAL, limit=_MANY)
        return [Task.of(self.scheduler, run) for run in reversed(found)]

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a task; whether there was anything left to cancel."""
        await self.scheduler.aio.connect()
        try:
            return bool(await self.scheduler.aio.cancel_run(task_id))
        except RunNotFoundError:
            return False

    async def wait_for_task(self, task_id: str, timeout: float | None = None) -> Task:
        """Wait until a task is over, however it ends.

        Raises:
            RunNotFoundError: there is no such task.
            WaitTimeoutError: it isn't over after `timeout` seconds; it goes on.
        """
        await self.scheduler.aio.connect()
        task = Task.of(self.scheduler, await self.scheduler.aio.get_run(task_id))
        await task.aio.wait(timeout)
        return task

    async def __aenter__(self) -> Self:
        await self.scheduler.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await self.scheduler.__aexit__(*raised)
