"""What a scheduler tells its listeners: small frozen values, one class a kind of event."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = [
    "Event",
    "RunCancelled",
    "RunCompleted",
    "RunEvent",
    "RunFailed",
    "RunLost",
    "RunMissed",
    "RunRetrying",
    "RunSkipped",
    "RunStarted",
    "RunTakenOver",
    "RunTimedOut",
    "SchedulerEvent",
    "SchedulerPaused",
    "SchedulerResumed",
    "SchedulerStarted",
    "SchedulerStopped",
    "StoreEvent",
    "StoreFailed",
    "StoreRecovered",
    "TaskAdded",
    "TaskChanged",
    "TaskEvent",
    "TaskPaused",
    "TaskRemoved",
    "TaskResumed",
    "TaskUndeclared",
    "TaskUnplannable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; `at` is an aware datetime in UTC."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """Something that happened to a task, by way of this scheduler."""

    task_id: str
    store: str


class TaskAdded(TaskEvent):
    """A task was added."""

    __slots__ = ()


class TaskChanged(TaskEvent):
    """A task's definition or schedule was changed."""

    __slots__ = ()


class TaskRemoved(TaskEvent):
    """A task was removed."""

    __slots__ = ()


class TaskPaused(TaskEvent):
    """A task was paused."""

    __slots__ = ()


class TaskResumed(TaskEvent):
    """A task was resumed."""

    __slots__ = ()


class TaskUndeclared(TaskEvent):
    """A task that was declared by a decorator is no longer in the code; it stays and goes on."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnplannable(TaskEvent):
    """A due task can't be planned by this node; it stays as it is."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent(Event):
    """Something that happened to a run in this scheduler.

    `fire_time` is None for runs that are not scheduled; `fire_count` says for how many fire times
    the run stands. Where an attempt has ended, `lateness` is how long after it was due it began,
    and `duration` how long it took, both in seconds.
    """

    run_id: str
    task_id: str
    store: str
    attempt: int
    fire_time: datetime | None
    fire_count: int = 1
    result: Any = None
    error: str | None = None
    reason: str | None = None
    lateness: float | None = None
    duration: float | None = None


class RunStarted(RunEvent):
    """A run was handed to its executor."""

    __slots__ = ()


class RunCompleted(RunEvent):
    """A run ended well; `result` is what its function returned."""

    __slots__ = ()


class RunFailed(RunEvent):
    """A run's function raised; `error` says what."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRetrying(RunEvent):
    """An attempt failed, and the run will be tried again from `next_attempt_at` on."""

    next_attempt_at: datetime


class RunCancelled(RunEvent):
    """A run was cancelled."""

    __slots__ = ()


class RunTimedOut(RunEvent):
    """A run took longer than it may."""

    __slots__ = ()


class RunMissed(RunEvent):
    """Fire times were too late to be executed."""

    __slots__ = ()


class RunSkipped(RunEvent):
    """Fire times were not executed, by a rule of their task."""

    __slots__ = ()


class RunLost(RunEvent):
    """A run's outcome is unknown, and it won't be executed again."""

    __slots__ = ()


class RunTakenOver(RunEvent):
    """A run whose node died is pending again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerEvent(Event):
    """Something that happened to the scheduler itself."""


class SchedulerStarted(SchedulerEvent):
    """The scheduler was started."""

    __slots__ = ()


class SchedulerPaused(SchedulerEvent):
    """The scheduler plans and starts nothing until it is resumed."""

    __slots__ = ()


class SchedulerResumed(SchedulerEvent):
    """The scheduler goes on."""

    __slots__ = ()


class SchedulerStopped(SchedulerEvent):
    """The scheduler was stopped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvent(Event):
    """Something that happened to a store."""

    store: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed(StoreEvent):
    """A store doesn't answer; it will be tried again."""

    error: str


class StoreRecovered(StoreEvent):
    """A store answers again."""

    __slots__ = ()
