"""Jobs and their schedulers: tasks and schedulers of ours under APScheduler's names."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self, TypeVar

from tickwork.compat.apscheduler.events import EVENT_ALL, JobEvent, job_event, kinds_of
from tickwork.compat.apscheduler.words import our_alias, our_configuration, our_options
from tickwork.compat.fields import FieldedTask
from tickwork.errors import SchedulerStateError, TaskNotFoundError
from tickwork.events import Event, SchedulerStopped
from tickwork.interfaces import Trigger
from tickwork.scheduler.runtime import DRAINED_WITHIN_S, StopReport
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["AsyncIOScheduler", "BackgroundScheduler", "BlockingScheduler", "Job"]

F = TypeVar("F", bound=Callable[..., Any])
Listener = Callable[[JobEvent], Any]

_MANY = 1_000_000


class Job(FieldedTask):
    """A task under APScheduler's name for it."""

    @property
    def func_ref(self) -> str:
        """The name of the function, "module:qualname"."""
        return self.snapshot().callable_reference

    @property
    def pending(self) -> bool:
        """Whether its scheduler has yet to be started."""
        return self.schedule_state == "pending"

    def modify(self, **changes: Any) -> Self:
        """Change options, or the trigger."""
        self.update(**our_options(changes, changes.get("trigger"), ()))
        return self

    def reschedule(self, trigger: Trigger | str | None = None, **trigger_arguments: Any) -> Self:
        """Change the trigger; the new schedule counts from now."""
        arguments = our_options(trigger_arguments, trigger, ())
        super().reschedule(our_alias(trigger), **arguments)
        return self


class BackgroundScheduler(Scheduler):
    """A scheduler whose tasks are called jobs; configured by a dict, keywords, or both."""

    def __init__(self, gconfig: Mapping[str, Any] | None = None, **options: Any) -> None:
        self._heard: dict[Listener, list[tuple[type[Event], Callable[[Event], Any]]]] = {}
        super().__init__(**our_configuration({**(gconfig or {}), **options}))

    @property
    def running(self) -> bool:
        """Whether it is started."""
        return self.state in {"started", "paused"}

    def shutdown(self, wait: bool = True, timeout: float = DRAINED_WITHIN_S) -> StopReport:  # noqa: FBT001, FBT002  a field's known spelling
        """Stop; soon, where a job or the event loop that executes jobs calls it."""
        try:
            return self.stop(wait, timeout)
        except SchedulerStateError:
            # It would wait for its own end here.
            threading.Thread(target=self.stop, args=(wait, timeout), name="shutdown").start()
            return StopReport()

    # --- jobs ---------------------------------------------------------------------------------

    def add_job(
        self,
        func: Callable[..., Any] | str,
        trigger: Trigger | str | None = None,
        args: Any = None,
        kwargs: Any = None,
        **options: Any,
    ) -> Job:
        """Add a job; options and arguments of triggers are APScheduler's, or ours."""
        given = our_options({"args": args, "kwargs": kwargs, **options}, trigger, self._executors)
        task = self.add_task(func, our_alias(trigger), **given)
        return Job.at(self, task.store, task.id, fn=func, trigger=trigger)

    def scheduled_job(
        self, trigger: Trigger | str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Callable[[F], F]:
        """Return a decorator that adds a function as a job."""

        def decorate(function: F) -> F:
            self.add_job(function, trigger, args, kwargs, replace_existing=True, **options)
            return function

        return decorate

    def modify_job(self, job_id: str, jobstore: str | None = None, **changes: Any) -> Job:
        """Change options of a job, or its trigger."""
        return self._job(job_id, jobstore).modify(**changes)

    def reschedule_job(
        self,
        job_id: str,
        jobstore: str | None = None,
        trigger: Trigger | str | None = None,
        **trigger_args: Any,
    ) -> Job:
        """Change the trigger of a job."""
        return self._job(job_id, jobstore).reschedule(trigger, **trigger_args)

    def pause_job(self, job_id: str, jobstore: str | None = None) -> Job:
        """Stop a job until it is resumed."""
        job = self._job(job_id, jobstore)
        job.pause()
        return job

    def resume_job(self, job_id: str, jobstore: str | None = None) -> Job:
        """Go on with a job, strictly after now."""
        job = self._job(job_id, jobstore)
        job.resume()
        return job

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """Remove a job; its runs stay."""
        self.remove_task(job_id, store=jobstore)

    def remove_all_jobs(self, jobstore: str | None = None) -> None:
        """Remove the jobs of a store, or of all stores."""
        self.remove_all_tasks(store=jobstore)

    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Return a job, or None where there is none."""
        try:
            return self._job(job_id, jobstore)
        except TaskNotFoundError:
            return None

    def get_jobs(self, jobstore: str | None = None) -> list[Job]:
        """Return all jobs, those that fire next first."""
        found = self.get_tasks(store=jobstore, sort="next_run_time", limit=_MANY)
        return [Job.at(self, info.store, info.id) for info in found]

    def print_jobs(self, jobstore: str | None = None) -> None:
        """Print a line for each job."""
        for task in self.get_tasks(store=jobstore, sort="next_run_time", limit=_MANY):
            when = task.next_run_time or task.schedule_state
            print(f"{task.name} (trigger: {task.trigger_description}, next run at: {when})")  # noqa: T201  that is what it is for

    def _job(self, job_id: str, jobstore: str | None) -> Job:
        return Job.at(self, self.get_task(job_id, store=jobstore).store, job_id)

    # --- listeners ----------------------------------------------------------------------------

    def add_listener(self, callback: Listener, mask: int = EVENT_ALL) -> None:
        """Tell a function of the events in a mask."""
        for code, kind in kinds_of(mask):
            tell = partial(_tell, callback, code)
            self.on(kind, tell)
            self._heard.setdefault(callback, []).append((kind, tell))

    def remove_listener(self, callback: Listener) -> None:
        """Stop telling a function."""
        for kind, tell in self._heard.pop(callback, []):
            self.off(kind, tell)


def _tell(callback: Listener, code: int, event: Event) -> Any:
    return callback(job_event(code, event))


class AsyncIOScheduler(BackgroundScheduler):
    """The same: coroutine functions run on the event loop on which it is started."""


class BlockingScheduler(BackgroundScheduler):
    """A scheduler that is all that its program does."""

    def start(self, paused: bool = False) -> Self:  # noqa: FBT001, FBT002  a field's known spelling
        """Fire until somebody else calls `shutdown`, or this is interrupted."""
        stopped = threading.Event()
        tell = partial(_set, stopped)
        self.on(SchedulerStopped, tell)
        super().start(paused)
        try:
            stopped.wait()
        finally:
            self.off(SchedulerStopped, tell)
            self.stop()
        return self


def _set(stopped: threading.Event, _: Event) -> None:
    stopped.set()
