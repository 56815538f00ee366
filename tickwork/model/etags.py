"""A word for how a task was declared and edited: who changes it can say what they looked at.

It isn't the revision, which grows with each fire: an edit of a task that fires every minute would
always come too late.
"""

from dataclasses import fields
from hashlib import blake2b

from tickwork.errors import StaleEditError
from tickwork.model.definition import Definition
from tickwork.model.json_text import to_text
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord

__all__ = ["etag_of", "refuse_stale"]

_COMPARED = tuple(
    each.name for each in fields(Definition) if each.name not in {"trigger", "target", "gate"}
)


def etag_of(task: TaskRecord) -> str:
    """Return a word that changes with a task's definition, its state and its pause."""
    until_us = task.wake_us if task.state is ScheduleState.PAUSED else None
    parts: list[object] = [
        task.generation, task.updated_us, task.state, task.paused_reason, until_us
    ]  # fmt: skip
    definition = task.definition
    if isinstance(definition, Definition):
        parts += [getattr(definition, name) for name in _COMPARED]
        parts.append(definition.trigger.to_json())
    else:
        parts.append(definition.text)
    return blake2b(to_text(parts).encode(), digest_size=12).hexdigest()


def refuse_stale(task: TaskRecord, etag: str | None) -> None:
    """Refuse a change of a task that isn't any more what the caller looked at.

    Raises:
        StaleEditError: another `etag` was given than the task has.
    """
    if etag is not None and etag != etag_of(task):
        raise StaleEditError(
            f"task {task.id!r} was changed by somebody else meanwhile; look at it again, and "
            "repeat the change if it still makes sense"
        )
