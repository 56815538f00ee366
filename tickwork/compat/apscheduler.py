"""APScheduler's names, as its third version has them: schedulers, jobs, triggers, events.

A job is one of our tasks, a scheduler one of ours, each under their names and with their words for
options and arguments. A fire time that is late by more than a second is missed, as there.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Any, Self

from tickwork import events, triggers
from tickwork.compat.fields import GRACE_S, FieldedTask, described
from tickwork.compat.hosting import stop_from_inside, until_stopped
from tickwork.errors import ConflictingTaskError as ConflictingIdError
from tickwork.errors import TaskNotFoundError as JobLookupError
from tickwork.executors import ProcessPoolExecutor, ThreadPoolExecutor
from tickwork.scheduler.scheduler import Scheduler
from tickwork.triggers import AndTrigger, OrTrigger

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
    "AndTrigger",
    "AsyncIOScheduler",
    "BackgroundScheduler",
    "BlockingScheduler",
    "ConflictingIdError",
    "CronTrigger",
    "DateTrigger",
    "IntervalTrigger",
    "Job",
    "JobLookupError",
    "OrTrigger",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
]

_KINDS: dict[int, list[type[events.Event]]] = {
    (EVENT_JOB_ADDED := 1 << 9): [events.TaskAdded],
    (EVENT_JOB_REMOVED := 1 << 10): [events.TaskRemoved],
    (EVENT_JOB_MODIFIED := 1 << 11): [events.TaskChanged, events.TaskPaused, events.TaskResumed],
    (EVENT_JOB_EXECUTED := 1 << 12): [events.RunCompleted],
    (EVENT_JOB_ERROR := 1 << 13): [events.RunFailed, events.RunTimedOut, events.RunLost],
    (EVENT_JOB_MISSED := 1 << 14): [events.RunMissed],
    (EVENT_JOB_SUBMITTED := 1 << 15): [events.RunStarted],
    (EVENT_JOB_MAX_INSTANCES := 1 << 16): [events.RunSkipped],
}
EVENT_ALL = sum(_KINDS)
_WORDS = {
    "jobstore": "store",
    "jobstores": "stores",
    "job_defaults": "task_defaults",
    "run_date": "run_at",
    "start_date": "start_at",
    "end_date": "end_at",
}
_WITHOUT_NEED = {"daemon", "event_loop", "jobstore_retry_interval", "logger"}


def _ours(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments in our words, without those that say nothing."""
    return {
        _WORDS.get(name, name): value
        for name, value in said.items()
        if (value is not None or name in {"misfire_grace_time", "next_run_time"})
        and (name, value) != ("executor", "default")
    }


def _worded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes their words for its arguments."""

    @wraps(function, updated=())
    def call(*args: Any, **said: Any) -> Any:
        return function(*args, **_ours(said))

    return call


DateTrigger = _worded(triggers.DateTrigger)
IntervalTrigger = _worded(triggers.IntervalTrigger)


class CronTrigger:
    """Makes our cron trigger; `from_crontab` reads a line as crontab does."""

    from_crontab = triggers.CronTrigger.from_crontab
    __new__ = _worded(lambda _, **fields: triggers.CronTrigger(**fields))


@dataclass(frozen=True)
class _Listener:
    callback: Callable[[Any], Any]
    code: int

    def __call__(self, event: Any) -> Any:
        """Tell of an event; an exception is a text, since another process may have raised it."""
        told = SimpleNamespace(
            code=self.code,
            job_id=event.task_id,
            jobstore=event.store,
            scheduled_run_time=getattr(event, "fire_time", None),
            retval=getattr(event, "result", None),
            exception=getattr(event, "error", None),
        )
        return self.callback(told)


class Job(FieldedTask):
    """A task under APScheduler's name for it."""

    modify = _worded(FieldedTask.update)
    reschedule = _worded(FieldedTask.reschedule)


class BackgroundScheduler(Scheduler):
    """A scheduler whose tasks are called jobs; configured by a dict, keywords, or both."""

    modify_job = _worded(Scheduler.update_task)
    reschedule_job = _worded(Scheduler.reschedule_task)
    pause_job = _worded(Scheduler.pause_task)
    resume_job = _worded(Scheduler.resume_task)
    remove_job = _worded(Scheduler.remove_task)
    remove_all_jobs = _worded(Scheduler.remove_all_tasks)
    shutdown = stop_from_inside

    def __init__(self, gconfig: Mapping[str, Any] | None = None, **options: Any) -> None:
        said = _ours({**(gconfig or {}), **options})
        stores = {name: described(each) for name, each in said.get("stores", {}).items()}
        said["stores"] = {"default": "memory://", **stores}
        said["task_defaults"] = {"misfire_grace_time": GRACE_S, **said.get("task_defaults", {})}
        super().__init__(**{name: said[name] for name in said.keys() - _WITHOUT_NEED})

    @property
    def running(self) -> bool:
        """Whether it is started."""
        return self.state in {"started", "paused"}

    def add_job(self, func: Any, trigger: Any = None, *args: Any, **options: Any) -> Job:
        """Add a job; options and arguments of triggers are APScheduler's, or ours."""
        given = _ours({**dict(zip(("args", "kwargs"), args, strict=False)), **options})
        task = self.add_task(func, trigger, **given)
        return Job.at(self, task.store, task.id, fn=func, trigger=trigger)

    def scheduled_job(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Return a decorator that adds a function as a job."""

        def decorate(function: Any) -> Any:
            self.add_job(function, *args, **{"replace_existing": True, **options})
            return function

        return decorate

    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Return a job, or None where there is none."""
        with suppress(JobLookupError):
            return Job.at(self, self.get_task(job_id, store=jobstore).store, job_id)
        return None

    def get_jobs(self, jobstore: str | None = None) -> list[Job]:
        """Return all jobs, those that fire next first."""
        found = self.get_tasks(store=jobstore, sort="next_run_time", limit=1_000_000)
        return [Job.at(self, info.store, info.id) for info in found]

    def add_listener(self, callback: Callable[[Any], Any], mask: int = EVENT_ALL) -> None:
        """Tell a function of the events in a mask."""
        for code, kinds in _KINDS.items():
            for kind in kinds if code & mask else ():
                self.on(kind, _Listener(callback, code))

    def remove_listener(self, callback: Callable[[Any], Any]) -> None:
        """Stop telling a function."""
        for code, kinds in _KINDS.items():
            for kind in kinds:
                self.off(kind, _Listener(callback, code))


AsyncIOScheduler = BackgroundScheduler


class BlockingScheduler(BackgroundScheduler):
    """A scheduler that is all that its program does."""

    def start(self, paused: bool = False) -> Self:  # noqa: FBT001, FBT002  a field's known spelling
        """Fire until somebody else calls `shutdown`, or this is interrupted."""
        with until_stopped(self):
            return super().start(paused)
