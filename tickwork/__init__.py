"""A persistent scheduler: calls functions on time, from definitions that a store keeps.

Names are imported when they are first used, so that `import tickwork` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tickwork.version import __version__

if TYPE_CHECKING:
    from tickwork.errors import (
        ConflictingTaskError,
        InvalidArgumentsError,
        InvalidInputError,
        InvalidReferenceError,
        InvalidTriggerError,
        RunNotFoundError,
        SchedulerStateError,
        StoreUnavailableError,
        TaskConfigurationError,
        TaskError,
        TaskNotFoundError,
        TickworkError,
        WaitTimeoutError,
    )
    from tickwork.model.current import CurrentRun, current_run, update_progress
    from tickwork.model.policies import (
        Coalesce,
        Delivery,
        Keep,
        Overlap,
        RunState,
        ScheduleState,
    )
    from tickwork.model.snapshots import RunInfo, SchedulerInfo, TaskInfo
    from tickwork.scheduler.config import SchedulerConfig
    from tickwork.scheduler.lifecycle import make_function
    from tickwork.scheduler.router import TaskRouter
    from tickwork.scheduler.run import Run
    from tickwork.scheduler.scheduler import AsyncIOScheduler, Scheduler
    from tickwork.scheduler.task import Task
    from tickwork.triggers import (
        AndTrigger,
        CalendarIntervalTrigger,
        CronTrigger,
        DateTrigger,
        IntervalTrigger,
        OrTrigger,
        ShutdownTrigger,
        parse_interval,
    )

_HOMES = {
    "tickwork.errors": (
        "ConflictingTaskError",
        "InvalidArgumentsError",
        "InvalidInputError",
        "InvalidReferenceError",
        "InvalidTriggerError",
        "RunNotFoundError",
        "SchedulerStateError",
        "StoreUnavailableError",
        "TaskConfigurationError",
        "TaskError",
        "TaskNotFoundError",
        "TickworkError",
        "WaitTimeoutError",
    ),
    "tickwork.model.policies": (
        "Coalesce",
        "Delivery",
        "Keep",
        "Overlap",
        "RunState",
        "ScheduleState",
    ),
    "tickwork.model.current": ("CurrentRun", "current_run", "update_progress"),
    "tickwork.model.snapshots": ("RunInfo", "SchedulerInfo", "TaskInfo"),
    "tickwork.scheduler.scheduler": ("AsyncIOScheduler", "Scheduler"),
    "tickwork.scheduler.config": ("SchedulerConfig",),
    "tickwork.scheduler.lifecycle": ("make_function",),
    "tickwork.scheduler.router": ("TaskRouter",),
    "tickwork.scheduler.run": ("Run",),
    "tickwork.scheduler.task": ("Task",),
    "tickwork.triggers": (
        "AndTrigger",
        "CalendarIntervalTrigger",
        "CronTrigger",
        "DateTrigger",
        "IntervalTrigger",
        "OrTrigger",
        "ShutdownTrigger",
        "parse_interval",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AndTrigger",
    "AsyncIOScheduler",
    "CalendarIntervalTrigger",
    "Coalesce",
    "ConflictingTaskError",
    "CronTrigger",
    "CurrentRun",
    "DateTrigger",
    "Delivery",
    "IntervalTrigger",
    "InvalidArgumentsError",
    "InvalidInputError",
    "InvalidReferenceError",
    "InvalidTriggerError",
    "Keep",
    "OrTrigger",
    "Overlap",
    "Run",
    "RunInfo",
    "RunNotFoundError",
    "RunState",
    "ScheduleState",
    "Scheduler",
    "SchedulerConfig",
    "SchedulerInfo",
    "SchedulerStateError",
    "ShutdownTrigger",
    "StoreUnavailableError",
    "Task",
    "TaskConfigurationError",
    "TaskError",
    "TaskInfo",
    "TaskNotFoundError",
    "TaskRouter",
    "TickworkError",
    "WaitTimeoutError",
    "__version__",
    "current_run",
    "make_function",
    "parse_interval",
    "update_progress",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tickwork' has no attribute {name!r}")
    found = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
