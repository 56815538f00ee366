"""Filters, sorting and pages over tasks that are at hand: what a `TaskQuery` means."""

from collections.abc import Callable, Iterable
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.model.definition import Definition
from tickwork.model.records import TaskRecord
from tickwork.model.steps import TaskQuery

__all__ = ["page_of_tasks"]

_KEYS: dict[str, Callable[[TaskRecord], Any]] = {
    "id": lambda task: task.id,
    "name": lambda task: task.definition.name if isinstance(task.definition, Definition) else "",
    "next_run_time": lambda task: task.due_us,
    "created_at": lambda task: task.created_us,
}


def page_of_tasks(tasks: Iterable[TaskRecord], query: TaskQuery) -> list[TaskRecord]:
    """Return the tasks that a query asks for, in its order.

    Raises:
        InvalidInputError: they can't be sorted like that.
    """
    word = query.sort.removeprefix("-")
    if word not in _KEYS:
        raise InvalidInputError(
            f"can't sort tasks by {query.sort!r}; use one of {', '.join(_KEYS)}, "
            "with - in front for descending"
        )
    key = _KEYS[word]
    found = sorted(
        (task for task in tasks if _matches(task, query)),
        key=lambda task: task.id,
    )
    valued = [(value, task) for task in found if (value := key(task)) is not None]
    valued.sort(key=lambda each: each[0], reverse=query.sort.startswith("-"))
    found = [task for _, task in valued] + [task for task in found if key(task) is None]
    return found[query.offset : query.offset + query.limit]


def _matches(task: TaskRecord, query: TaskQuery) -> bool:
    if query.state is not None and task.state is not query.state:
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
