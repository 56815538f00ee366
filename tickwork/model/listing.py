"""Filters, sorting and pages over records that are at hand: what queries mean."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.model.definition import Definition
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery

__all__ = [
    "FAILURES",
    "TELLING",
    "fits",
    "is_failing",
    "looked_at",
    "matching_tasks",
    "page_of_tasks",
    "sort_of",
]

FAILURES = frozenset({RunState.FAILED, RunState.TIMEOUT, RunState.LOST})
TELLING = FAILURES | {RunState.COMPLETED}
"""How the last run ended that tells whether a task fails: others were never executed to an end."""

_KEYS: dict[str, Callable[[TaskRecord], Any]] = {
    "id": lambda task: task.id,
    "name": lambda task: task.definition.name if isinstance(task.definition, Definition) else "",
    "next_run_time": lambda task: task.due_us,
    "created_at": lambda task: task.created_us,
}


def sort_of(query: TaskQuery) -> tuple[str, bool]:
    """Return what tasks are sorted by, and whether descending.

    Raises:
        InvalidInputError: they can't be sorted like that.
    """
    word = query.sort.removeprefix("-")
    if word not in _KEYS:
        raise InvalidInputError(
            f"can't sort tasks by {query.sort!r}; use one of {', '.join(_KEYS)}, "
            "with - in front for descending"
        )
    return word, query.sort.startswith("-")


def _never(_: TaskRecord) -> RunState | None:
    """Return how the last run of a task ended that has none."""
    return None


def page_of_tasks(
    tasks: Iterable[TaskRecord],
    query: TaskQuery,
    last_state: Callable[[TaskRecord], RunState | None] = _never,
) -> list[TaskRecord]:
    """Return the tasks that a query asks for, in its order; see `matching_tasks`.

    Raises:
        InvalidInputError: they can't be sorted like that.
    """
    word, descending = sort_of(query)
    key = _KEYS[word]
    found = sorted(matching_tasks(tasks, query, last_state), key=lambda task: task.id)
    valued = [(value, task) for task in found if (value := key(task)) is not None]
    valued.sort(key=lambda each: each[0], reverse=descending)
    lacking = [task for task in found if key(task) is None]
    if query.after is not None:
        value, task_id = query.after
        valued = [each for each in valued if _is_beyond(each, value, task_id, descending)]
        if value is None:
            lacking = [task for task in lacking if task.id > task_id]
    found = [task for _, task in valued] + lacking
    return found[query.offset : query.offset + query.limit]


def _is_beyond(place: tuple[Any, TaskRecord], value: Any, task_id: str, descending: bool) -> bool:  # noqa: FBT001  called once a task
    """Whether a task that has the value comes after a place in the order."""
    own, task = place
    if value is None or own == value:
        return value is not None and task.id > task_id
    return bool(own < value) if descending else bool(own > value)


def matching_tasks(
    tasks: Iterable[TaskRecord],
    query: TaskQuery,
    last_state: Callable[[TaskRecord], RunState | None] = _never,
) -> list[TaskRecord]:
    """Return the tasks that meet the conditions of a query, wherever they stand in its order.

    `last_state` tells how the last `TELLING` run of a task ended; without, none ever did.
    """
    found = (task for task in tasks if _matches(task, query))
    if query.failing is None:
        return list(found)
    return [task for task in found if is_failing(task, last_state(task)) is query.failing]


def is_failing(task: TaskRecord, last: RunState | None) -> bool:
    """Whether a task fails, its last run having ended in a state."""
    return task.streak > 0 or last in FAILURES


def fits(run: RunRecord, query: RunQuery) -> bool:
    """Whether a run meets the conditions of a query, but for that of its task."""
    return (
        (query.states is None or run.state in query.states)
        and (query.source is None or run.source is query.source)
        and (query.suspect is None or run.suspect is query.suspect)
        and (query.since_us is None or run.created_us >= query.since_us)
        and (query.until_us is None or run.created_us <= query.until_us)
    )


def looked_at(newest: Iterable[RunRecord], query: RunQuery) -> Iterator[RunRecord]:
    """Yield those of a task's, or of all, runs that a query looks at; the newest come first."""
    until_us = query.until_us
    made = (run for run in newest if until_us is None or run.created_us <= until_us)
    return islice(made, query.among)


def _matches(task: TaskRecord, query: TaskQuery) -> bool:
    if query.state is not None and task.state is not query.state:
        return False
    if query.ids is not None and task.id not in query.ids:
        return False
    if query.due_before_us is not None and not _is_late(task, query.due_before_us):
        return False
    definition = task.definition
    name = definition.name if isinstance(definition, Definition) else ""
    if query.search is not None:
        searched = query.search.lower()
        if searched not in task.id.lower() and searched not in name.lower():
            return False
    asked = (query.executor, query.function, query.trigger, query.tag, query.declared_in)
    if not any(each is not None for each in asked):
        return True
    return isinstance(definition, Definition) and (
        query.executor in {None, definition.executor}
        and query.function in {None, definition.function}
        and query.trigger in {None, definition.trigger.kind}
        and query.declared_in in {None, definition.declared_in}
        and (query.tag is None or query.tag in definition.tags)
    )


def _is_late(task: TaskRecord, before_us: int) -> bool:
    scheduled = task.state is ScheduleState.SCHEDULED
    return scheduled and task.due_us is not None and task.due_us < before_us
