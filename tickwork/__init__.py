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
    )
    from tickwork.model.policies import Coalesce, Delivery, RunState, ScheduleState
    from tickwork.model.snapshots import RunInfo, SchedulerInfo, TaskInfo
    from tickwork.scheduler.scheduler import AsyncIOScheduler, Scheduler
    from tickwork.scheduler.task import Run, Task
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
    ),
    "tickwork.model.policies": ("Coalesce", "Delivery", "RunState", "ScheduleState"),
    "tickwork.model.snapshots": ("RunInfo", "SchedulerInfo", "TaskInfo"),
    "tickwork.scheduler.scheduler": ("AsyncIOScheduler", "Scheduler"),
    "tickwork.scheduler.task": ("Run", "Task"),
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
    "DateTrigger",
    "Delivery",
    "IntervalTrigger",
    "InvalidArgumentsError",
    "InvalidInputError",
    "InvalidReferenceError",
    "InvalidTriggerError",
    "OrTrigger",
    "Run",
    "RunInfo",
    "RunNotFoundError",
    "RunState",
    "ScheduleState",
    "Scheduler",
    "SchedulerInfo",
    "SchedulerStateError",
    "ShutdownTrigger",
    "StoreUnavailableError",
    "Task",
    "TaskConfigurationError",
    "TaskError",
    "TaskInfo",
    "TaskNotFoundError",
    "TickworkError",
    "__version__",
    "parse_interval",
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
