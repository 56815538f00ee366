"""What a trigger or a task would do next."""

from datetime import datetime
from itertools import islice

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.instants import from_us
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.scheduler.timing import fire_times, timing_of

__all__ = ["MOST", "preview", "preview_task"]

MOST = 10_000
"""How many fire times are shown at most."""


def preview(trigger: Trigger, now_us: int, count: int) -> list[datetime]:
    """Return the next fire times of a trigger that would be added now, in UTC."""
    return _listed(trigger, now_us, now_us, count)


def preview_task(task: TaskRecord, now_us: int, count: int) -> list[datetime]:
    """Return the next fire times of a stored task: none while it isn't scheduled."""
    definition = task.definition
    if not isinstance(definition, Definition) or task.state is not ScheduleState.SCHEDULED:
        return []
    if task.fire_us is None:
        return []
    first = from_us(task.fire_us)
    return [first, *_listed(definition.trigger, task.anchor_us, task.fire_us, count - 1)]


def _listed(trigger: Trigger, anchor_us: int, after_us: int, count: int) -> list[datetime]:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST:
        raise InvalidInputError(f"count={count!r} must be a whole number from 0 to {MOST}")
    timing = timing_of(trigger, anchor_us)
    found = [from_us(each) for each in islice(fire_times(timing, after_us), count)]
    if not found and count:
        # A single instant at or before now: added now, it would fire at once.
        only_us = timing.next_us(-(10**17))
        if only_us is not None and only_us <= after_us and timing.next_us(only_us) is None:
            return [from_us(only_us)]
    return found
