"""APScheduler's events: its codes, and which of our events they stand for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tickwork import events
from tickwork.events import Event

__all__ = [
    "EVENT_ALL",
    "EVENT_JOB_ADDED",
    "EVENT_JOB_ERROR",
    "EVENT_JOB_EXECUTED",
    "EVENT_JOB_MAX_INSTANCES",
    "EVENT_JOB_MISSED",
    "EVENT_JOB_MODIFIED",
    "EVENT_JOB_REMOVED",
    "EVENT_JOB_SUBMITTED",
    "EVENT_SCHEDULER_PAUSED",
    "EVENT_SCHEDULER_RESUMED",
    "EVENT_SCHEDULER_SHUTDOWN",
    "EVENT_SCHEDULER_STARTED",
    "JobEvent",
    "job_event",
    "kinds_of",
]

EVENT_SCHEDULER_STARTED = 1 << 0
EVENT_SCHEDULER_SHUTDOWN = 1 << 1
EVENT_SCHEDULER_PAUSED = 1 << 2
EVENT_SCHEDULER_RESUMED = 1 << 3
EVENT_JOB_ADDED = 1 << 9
EVENT_JOB_REMOVED = 1 << 10
EVENT_JOB_MODIFIED = 1 << 11
EVENT_JOB_EXECUTED = 1 << 12
EVENT_JOB_ERROR = 1 << 13
EVENT_JOB_MISSED = 1 << 14
EVENT_JOB_SUBMITTED = 1 << 15
EVENT_JOB_MAX_INSTANCES = 1 << 16

_OURS: dict[int, tuple[type[Event], ...]] = {
    EVENT_SCHEDULER_STARTED: (events.SchedulerStarted,),
    EVENT_SCHEDULER_SHUTDOWN: (events.SchedulerStopped,),
    EVENT_SCHEDULER_PAUSED: (events.SchedulerPaused,),
    EVENT_SCHEDULER_RESUMED: (events.SchedulerResumed,),
    EVENT_JOB_ADDED: (events.TaskAdded,),
    EVENT_JOB_REMOVED: (events.TaskRemoved,),
    EVENT_JOB_MODIFIED: (events.TaskChanged, events.TaskPaused, events.TaskResumed),
    EVENT_JOB_EXECUTED: (events.RunCompleted,),
    EVENT_JOB_ERROR: (events.RunFailed, events.RunTimedOut, events.RunLost),
    EVENT_JOB_MISSED: (events.RunMissed,),
    EVENT_JOB_SUBMITTED: (events.RunStarted,),
    EVENT_JOB_MAX_INSTANCES: (events.RunSkipped,),
}
EVENT_ALL = sum(_OURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """What a listener is told; `exception` is a text, since another process may have raised it."""

    code: int
    job_id: str | None = None
    jobstore: str | None = None
    scheduled_run_time: datetime | None = None
    retval: Any = None
    exception: str | None = None


def kinds_of(mask: int) -> Iterator[tuple[int, type[Event]]]:
    """Yield the codes in a mask, each with the events that it stands for."""
    for code, kinds in _OURS.items():
        if code & mask:
            yield from ((code, kind) for kind in kinds)


def job_event(code: int, event: Event) -> JobEvent:
    """Return one of our events as one of theirs."""
    return JobEvent(
        code=code,
        job_id=getattr(event, "task_id", None),
        jobstore=getattr(event, "store", None),
        scheduled_run_time=getattr(event, "fire_time", None),
        retval=getattr(event, "result", None),
        exception=getattr(event, "error", None),
    )
