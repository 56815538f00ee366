"""The names of Nexios' tasks: `setup_tasks`, `create_task`, `TaskManager` and what belongs to them.

```python
from tickwork.compat.nexios import TaskConfig, create_task, setup_tasks

task_manager = setup_tasks(app, config=TaskConfig(max_concurrent_tasks=50))


@app.post("/process")
async def start_processing(request: Request) -> dict[str, str]:
    task = await create_task(request=request, func=process_data, data={}, name="processing")
    return {"task_id": task.id}
```

What is a task there is a run here. A manager that nobody has started starts at its first task, and
stops with the event loop on which that was.
"""

from collections.abc import Callable
from typing import Any

from tickwork.compat.hosting import host
from tickwork.compat.nexios.manager import TaskConfig, TaskManager
from tickwork.compat.nexios.tasks import Task, TaskFailure
from tickwork.errors import (
    InvalidInputError,
    SchedulerStateError,
    TaskConfigurationError,
    TaskError,
)
from tickwork.model.current import current_run
from tickwork.model.policies import RunState as TaskStatus
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


def setup_tasks(
    app: Any, config: TaskConfig | None = None, *, scheduler: Scheduler | None = None
) -> TaskManager:
    """Give an application a manager, which starts and stops with it; return that.

    Raises:
        TaskConfigurationError: it is no kind of application that can be told to.
    """
    manager = TaskManager(config, scheduler=scheduler)
    host(app, manager.scheduler)
    app.state.task_manager, app.state.tickwork = manager, manager.scheduler
    return manager


def _manager_of(request: Any) -> TaskManager:
    manager = getattr(request.app.state, "task_manager", None)
    if not isinstance(manager, TaskManager):
        raise SchedulerStateError("this application has no task manager: call setup_tasks(app)")
    return manager


async def create_task(
    request: Any, func: Callable[..., Any], *args: Any, name: str | None = None, **kwargs: Any
) -> Task:
    """Execute a function soon, on the manager of the request's application."""
    return await _manager_of(request).create_task(func, *args, name=name, **kwargs)


async def wait_for_task(request: Any, task_id: str, timeout: float | None = None) -> Task:
    """Wait for a task of the manager of the request's application."""
    return await _manager_of(request).wait_for_task(task_id, timeout)


async def update_task_progress(task_id: str, progress: float) -> None:
    """Say how many percent the task around this call has done.

    Raises:
        InvalidInputError: it is another task, or the number isn't from 0 to 100.
    """
    run = current_run()
    if task_id not in {run.id, run.task_id}:
        raise InvalidInputError(f"this is the task {run.id!r}, which can't speak for {task_id!r}")
    run.progress(progress)


def TaskDependency() -> Any:  # noqa: N802  a class there
    """Return what makes FastAPI pass the application's manager, which has `create`.

    Raises:
        TaskConfigurationError: FastAPI isn't installed.
    """
    try:
        from fastapi import Depends
        from starlette.requests import HTTPConnection
    except ImportError:
        raise TaskConfigurationError(
            "TaskDependency needs FastAPI: pip install 'tickwork[fastapi]'"
        ) from None

    def manager(connection: HTTPConnection) -> TaskManager:
        return _manager_of(connection)

    return Depends(manager)
