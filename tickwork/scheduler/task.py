"""Tasks as users hold them: handles over what a store keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tickwork.errors import SchedulerStateError, TaskConfigurationError
from tickwork.scheduler.facade import AsyncFacade

if TYPE_CHECKING:
    from datetime import datetime

    from tickwork.interfaces import Trigger
    from tickwork.model.policies import ScheduleState
    from tickwork.model.snapshots import RunInfo, TaskInfo
    from tickwork.scheduler.run import Run
    from tickwork.scheduler.tasks import SchedulerTasks

__all__ = ["Task"]

F = TypeVar("F", bound=Callable[..., Any])


class Task:
    """A task: what to call, when, and how.

    Made by `Scheduler.add_task`, or directly and then submitted with `add_task(task, ...)`, where
    other options override its own; with `scheduler=` it is submitted at once. Options and trigger
    arguments are those of `Scheduler.add_task`. Without a function it is a decorator: each function
    it is applied to becomes a task of its own.
    """

    def __init__(
        self,
        fn: Callable[..., Any] | str | None = None,
        trigger: Trigger | str | None = None,
        *,
        scheduler: SchedulerTasks | None = None,
        **options: Any,
    ) -> None:
        self.fn = fn
        self.trigger = trigger
        self.options = options
        self._scheduler: SchedulerTasks | None = None
        self._store = ""
        self._id: str | None = options.get("id")
        if scheduler is not None and fn is not None:
            submitted = scheduler.add_task(self)
            self._bind(scheduler, submitted.store, submitted.id)
        elif scheduler is not None:
            self._scheduler = scheduler

    @classmethod
    def _bound(cls, scheduler: SchedulerTasks, store: str, task_id: str) -> Task:
        task = cls()
        task._bind(scheduler, store, task_id)
        return task

    def _bind(self, scheduler: SchedulerTasks, store: str, task_id: str) -> None:
        self._scheduler, self._store, self._id = scheduler, store, task_id

    def __repr__(self) -> str:
        return f"<Task {self._id!r}>" if self._id else f"<Task of {self.fn!r}, not submitted>"

    def __call__(self, function: F) -> F:
        """Submit a copy of this definition for a function, and return the function as it is."""
        if self._scheduler is None or self.fn is not None:
            raise SchedulerStateError(
                f"{self!r} can't decorate; use scheduler.task(...), or scheduler.add_task() "
                "without a function"
            )
        self._scheduler._decorate(function, self.trigger, self.options)  # noqa: SLF001  its other half
        return function

    @property
    def id(self) -> str:
        """The id, which never changes."""
        if self._id is None:
            raise SchedulerStateError(f"{self!r} has no id yet: submit it with add_task()")
        return self._id

    @property
    def store(self) -> str:
        """The name of the store that has it."""
        return self._store

    @property
    def aio(self) -> AsyncFacade:
        """The same methods, awaitable."""
        return AsyncFacade(self)

    def _home(self) -> SchedulerTasks:
        if self._scheduler is None or not self._store:
            raise SchedulerStateError(
                f"{self!r} belongs to no scheduler: submit it with add_task()"
            )
        return self._scheduler

    def snapshot(self) -> TaskInfo:
        """Return the task as it stands now."""
        return self._home().get_task_info(self.id, store=self._store)

    @property
    def name(self) -> str:
        """The name, as it stands now."""
        return self.snapshot().name

    @property
    def schedule_state(self) -> ScheduleState:
        """Where the task stands now."""
        return self.snapshot().schedule_state

    @property
    def next_run_time(self) -> datetime | None:
        """The first fire time that isn't planned yet, in UTC; None while there is none."""
        return self.snapshot().next_run_time

    @property
    def paused(self) -> bool:
        """Whether the task is paused."""
        return self.schedule_state.value == "paused"

    def update(self, **changes: Any) -> Task:
        """Change options, trigger or arguments; see `Scheduler.update_task`."""
        if "store" in changes:
            raise TaskConfigurationError(
                "a task stays where it is; add it to the other store and remove this one"
            )
        if self._scheduler is None:
            self.options |= changes
            return self
        self._home().update_task(self.id, store=self._store, **changes)
        return self

    def reschedule(self, trigger: Trigger | str | None = None, **trigger_arguments: Any) -> Task:
        """Change the trigger; the new schedule counts from now."""
        self._home().reschedule_task(self.id, trigger, store=self._store, **trigger_arguments)
        return self

    def pause(self, reason: str | None = None, *, until: datetime | None = None) -> Task:
        """Stop planning this task, until an instant if one is named; runs planned before go on."""
        self._home().pause_task(self.id, reason=reason, until=until, store=self._store)
        return self

    def resume(self) -> Task:
        """Go on strictly after now; what was skipped meanwhile is recorded."""
        self._home().resume_task(self.id, store=self._store)
        return self

    def remove(self) -> None:
        """Remove the task and cancel its pending runs; its history stays."""
        self._home().remove_task(self.id, store=self._store)

    def run(self) -> Run:
        """Execute it now, whatever its schedule says, and without touching that."""
        return self._home().run_task(self.id, store=self._store)

    def get_runs(self, **filters: Any) -> list[RunInfo]:
        """Return its runs, newest first; see `Scheduler.get_runs`."""
        return self._home().get_runs(task=self.id, store=self._store, **filters)
