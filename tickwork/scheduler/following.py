"""What follows for a task from the end of its runs, whoever ended them."""

from collections.abc import Sequence
from typing import Any

from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Ended
from tickwork.scheduler import planner
from tickwork.scheduler.guard import Guarded, guarded_trigger

__all__ = ["after_run", "named"]


def after_run(task: TaskRecord, ended: Sequence[Ended]) -> None:
    """Move a task on after its runs; one whose trigger fails is paused, with the reason."""
    trigger = planner.definition_of(task).trigger
    moved = guarded_trigger(trigger, planner.after_run, task, ended)
    if moved.error is not None:
        task.state, task.due_us = ScheduleState.PAUSED, None
        task.problem = task.paused_reason = f"its trigger failed: {named(moved)}"


def named(failure: Guarded[Any]) -> str:
    """Return what went wrong with user code, with the kind of error."""
    return f"{type(failure.error).__name__}: {failure.error}"
