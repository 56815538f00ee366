"""Tasks of Nexios: runs, which tell the functions that they execute who they are."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Self

from tickwork.model.callables import is_coroutine_callable
from tickwork.model.signatures import parameters_of
from tickwork.model.snapshots import RunInfo
from tickwork.scheduler.run import Run
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["Task", "TaskFailure", "told"]


@dataclass(frozen=True, kw_only=True)
class TaskFailure:
    """Why a task failed; as text it is the message, `code` and `details` are of a `TaskError`."""

    type: str
    message: str
    traceback: str | None = None
    code: str | None = None
    details: dict[str, Any] | None = None
    attempt: int = 1
    at: str = ""

    def __str__(self) -> str:
        return self.message


class Task(Run):
    """A run under Nexios' name for it."""

    @classmethod
    def of(cls, scheduler: Scheduler, run: Run | RunInfo) -> Self:
        """Return a run as a task."""
        return cls(scheduler, run.id, run.task_id, run.store, name=run.name)

    @property
    def error(self) -> TaskFailure | None:  # type: ignore[override]  # the same, as an object
        """Why it failed, if it did."""
        error = super().error
        return None if error is None else TaskFailure(**error)

    @property
    def progress(self) -> float:  # type: ignore[override]  # the percentage of it
        """How many percent it said to have done."""
        return (super().progress or {}).get("percent") or 0.0


def told(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function that gets the id of its run as `task_id`, where it asks for that."""
    parameters = parameters_of(function)
    asked = set(parameters.provided if parameters else ()) - given.keys()
    if asked != {"task_id"}:
        return function
    call = (_told_on_loop if is_coroutine_callable(function) else _told_plainly)(function)
    signature = inspect.signature(function)
    renamed = [
        each.replace(name="run_id") if each.name == "task_id" else each
        for each in signature.parameters.values()
    ]
    call.__signature__ = signature.replace(parameters=renamed)  # type: ignore[attr-defined]  # what inspect reads
    return call


def _told_on_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, run_id: str, **kwargs: Any) -> Any:
        return await function(*args, task_id=run_id, **kwargs)

    return call


def _told_plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, run_id: str, **kwargs: Any) -> Any:
        return function(*args, task_id=run_id, **kwargs)

    return call
