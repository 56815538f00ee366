"""xitzin's names: `task`, `BackgroundTask`, `parse_interval` and what runs a task.

```python
from tickwork.compat.xitzin import task


class App(Starlette):
    task = task


app = App()


@app.task(interval="1h")
async def hourly_cleanup() -> None: ...


@app.task(cron="0 2 * * *")
def daily_backup() -> None: ...
```

Or, of any application or scheduler: `@task(app, interval="1h")`. An interval is a fixed delay that
begins with waiting. The scheduler is `app.state.tickwork`; where there is none, one is made that
keeps its tasks in memory and starts and stops with the application.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tickwork.compat.hosting import host
from tickwork.errors import TaskConfigurationError
from tickwork.scheduler.scheduler import Scheduler
from tickwork.triggers import parse_interval

__all__ = [
    "BackgroundTask",
    "TaskConfigurationError",
    "parse_interval",
    "run_cron_task",
    "run_interval_task",
    "task",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class BackgroundTask:
    """A function, when to call it, and its name; `interval` is in seconds."""

    handler: Callable[[], Any]
    interval: float | None
    cron: str | None
    name: str


def task(
    app: Any,
    *,
    interval: str | float | None = None,
    cron: str | None = None,
    **options: Any,
) -> Callable[[F], F]:
    """Return a decorator for a task of an application, or of a scheduler; `options` are ours.

    Raises:
        TaskConfigurationError: neither `interval` nor `cron` is given, or both.
    """
    said = {"interval": interval, "cron": cron}
    ways: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    return _scheduler_of(app).task(fixed_delay="interval" in ways, **ways, **options)


def _scheduler_of(app: Any) -> Scheduler:
    if isinstance(app, Scheduler):
        return app
    found = getattr(app.state, "tickwork", None)
    if not isinstance(found, Scheduler):
        found = Scheduler()
        host(app, found)
        app.state.tickwork = found
    return found


async def run_interval_task(task: BackgroundTask) -> None:
    """Run a task on its schedule until this is cancelled.

    Raises:
        TaskConfigurationError: it has neither interval nor cron, or both.
    """
    scheduler = Scheduler()
    _declare(scheduler, task)
    async with scheduler:
        await asyncio.Event().wait()


run_cron_task = run_interval_task


def _declare(scheduler: Scheduler, declared: BackgroundTask) -> None:
    decorate = task(scheduler, interval=declared.interval, cron=declared.cron, name=declared.name)
    decorate(declared.handler)
