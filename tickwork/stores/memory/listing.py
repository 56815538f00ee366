"""Filters, sorting and pages over what a memory store holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.model.definition import Definition
from tickwork.model.policies import TERMINAL, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import PruneRequest, RunQuery, TaskQuery
from tickwork.stores.memory.shelves import Shelves

__all__ = ["prune", "runs", "tasks"]

_KEYS: dict[str, Callable[[TaskRecord], Any]] = {
    "id": lambda task: task.id,
    "name": lambda task: task.definition.name if isinstance(task.definition, Definition) else "",
    "next_run_time": lambda task: task.due_us,
    "created_at": lambda task: task.created_us,
}


def tasks(shelves: Shelves, query: TaskQuery) -> list[TaskRecord]:
    """Return the tasks of a page."""
    word = query.sort.removeprefix("-")
    if word not in _KEYS:
        raise InvalidInputError(
            f"can't sort tasks by {query.sort!r}; use one of {', '.join(_KEYS)}, "
            "with - in front for descending"
        )
    key = _KEYS[word]
    found = sorted(
        (task for task in shelves.tasks.values() if _matches(task, query)),
        key=lambda task: task.id,
    )
    valued = [(value, task) for task in found if (value := key(task)) is not None]
    valued.sort(key=lambda each: each[0], reverse=query.sort.startswith("-"))
    found = [task for _, task in valued] + [task for task in found if key(task) is None]
    return found[query.offset : query.offset + query.limit]


def _matches(task: TaskRecord, query: TaskQuery) -> bool:
    if query.state is not None and task.state is not query.state:
        return False
    if query.prefix is not None and not task.id.startswith(query.prefix):
        return False
    definition = task.definition
    name = definition.name if isinstance(definition, Definition) else ""
    if query.search is not None:
        searched = query.search.lower()
        if searched not in task.id.lower() and searched not in name.lower():
            return False
    asked = (query.executor, query.function, query.trigger, query.tag)
    if asked == (None, None, None, None):
        return True
    return isinstance(definition, Definition) and (
        query.executor in {None, definition.executor}
        and query.function in {None, definition.function}
        and query.trigger in {None, definition.trigger.kind}
        and (query.tag is None or query.tag in definition.tags)
    )


def runs(shelves: Shelves, query: RunQuery) -> Iterable[RunRecord]:
    """Return the runs of a page."""
    kept = shelves.runs if query.task_id is None else shelves.runs_of(query.task_id)
    return islice(_newest(kept, query), query.offset, query.offset + query.limit)


def _newest(kept: Mapping[str, RunRecord], query: RunQuery) -> Iterator[RunRecord]:
    for run in reversed(list(kept.values())):
        if (
            (query.states is None or run.state in query.states)
            and (query.source is None or run.source is query.source)
            and (query.since_us is None or run.created_us >= query.since_us)
            and (query.until_us is None or run.created_us <= query.until_us)
        ):
            yield run


def prune(shelves: Shelves, request: PruneRequest) -> int:
    """Do a store's `prune`."""
    old = _old_runs(shelves, request)
    finished = [task.id for task in shelves.tasks.values() if _is_over(shelves, task, request)]
    for run in old:
        shelves.forget(run)
    del finished[request.limit :]
    for task_id in finished:
        del shelves.tasks[task_id]
    return len(old) + len(finished)


def _is_over(shelves: Shelves, task: TaskRecord, request: PruneRequest) -> bool:
    return (
        task.state is ScheduleState.FINISHED
        and task.active == 0
        and isinstance(task.definition, Definition)
        and task.definition.disposable
        and task.updated_us < request.before_us
        and not shelves.runs_of(task.id)
    )


def _old_runs(shelves: Shelves, request: PruneRequest) -> list[RunRecord]:
    """Return runs that are over and may be forgotten: aged ones first."""
    old: dict[str, RunRecord] = {}
    for run in shelves.runs.values():
        if len(old) >= request.limit or run.created_us >= request.before_us:
            break
        if run.state in TERMINAL and (run.finished_us or 0) < request.before_us:
            old[run.id] = run
    for task_id, kept in request.histories.items():
        over = [run for run in shelves.runs_of(task_id).values() if run.state in TERMINAL]
        old.update({run.id: run for run in over[: max(0, len(over) - kept)]})
    return list(islice(old.values(), request.limit))
