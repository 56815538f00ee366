"""The records of tasks that begin: what is declared, anchored now, with its first fire time."""

from collections.abc import Iterator, Sequence
from secrets import randbits

from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord, copied
from tickwork.scheduler import planner
from tickwork.scheduler.declaring import Declared
from tickwork.scheduler.guard import asked

__all__ = ["new_records"]

_GENERATION_BITS = 61


def new_records(declared: Sequence[Declared], now_us: int) -> Iterator[TaskRecord]:
    """Yield the record of each task; of tasks that are declared alike, the first one is copied.

    Raises:
        InvalidTriggerError: a trigger raised, or took too long.
    """
    # Different from those of any tasks which had these ids before.
    first_generation = randbits(_GENERATION_BITS)
    latest: tuple[Declared, TaskRecord] | None = None
    timings: dict[int, object] = {}
    for generation, each in enumerate(declared, first_generation):
        if latest is not None and _begins_like(each, latest[0]):
            record = copied(latest[1])
            record.id, record.generation = each.id, generation
        else:
            record = _new_record(each, generation, now_us, timings)
            latest = each, copied(record)
        yield record


def _begins_like(declared: Declared, other: Declared) -> bool:
    return (
        declared.definition is other.definition
        and not declared.definition.jitter_us  # which differs from id to id
        and declared.first_us == other.first_us
        and declared.paused == other.paused
    )


def _new_record(
    declared: Declared, generation: int, now_us: int, timings: dict[int, object]
) -> TaskRecord:
    """Return the record of a new task; `timings` are those of triggers by identity."""
    record = TaskRecord(
        id=declared.id,
        generation=generation,
        definition=declared.definition,
        state=ScheduleState.PAUSED if declared.paused else ScheduleState.SCHEDULED,
    )
    trigger = declared.definition.trigger
    known = timings.get(id(trigger))
    new = asked(trigger, lambda: planner.new_task(record, now_us, declared.first_us, known))
    timings[id(trigger)] = new.timing
    return new
