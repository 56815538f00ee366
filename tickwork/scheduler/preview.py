"""What a trigger or a task would do next."""

from datetime import datetime
from itertools import islice

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.instants import from_us
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.scheduler.timing import Timing, fire_times, only_fire_time, timing_of

__all__ = ["MOST", "preview", "preview_task"]

MOST = 10_000
"""How many fire times are shown at most."""


def preview(trigger: Trigger, now_us: int, count: int) -> list[datetime]:
    """Return the next fire times of a trigger that would be added now, in UTC."""
    timing = timing_of(trigger, now_us)
    found = _listed(timing, now_us - 1, count)
    if found or not count or trigger.kind != "date":
        return found
    only_us = only_fire_time(timing, now_us)
    return [] if only_us is None else [from_us(only_us)]


def preview_task(task: TaskRecord, count: int) -> list[datetime]:
    """Return the next fire times of a stored task: none while it isn't scheduled.

    Of one that is paused until some time, those from then on.
    """
    definition = task.definition
    if not isinstance(definition, Definition):
        return []
    if task.state is ScheduleState.PAUSED and task.wake_us is not None:
        first_us = max(task.wake_us, task.fire_us or 0)
        return _listed(timing_of(definition.trigger, task.anchor_us), first_us - 1, count)
    if task.state is not ScheduleState.SCHEDULED:
        return []
    if task.fire_us is None or not count:
        return []
    timing = timing_of(definition.trigger, task.anchor_us)
    return [from_us(task.fire_us), *_listed(timing, task.fire_us, count - 1)]


def _listed(timing: Timing, after_us: int, count: int) -> list[datetime]:
    if isinstance(count, bool) or not 0 <= count <= MOST:
        raise InvalidInputError(f"count={count!r} must be a whole number from 0 to {MOST}")
    return [from_us(each) for each in islice(fire_times(timing, after_us), count)]
