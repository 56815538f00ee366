"""Filters, sorting and pages over what is held in memory."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

from tickwork.model.definition import Definition
from tickwork.model.listing import TELLING, fits, looked_at, matching_tasks, page_of_tasks
from tickwork.model.policies import TERMINAL, RunState, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import PruneRequest, RunQuery, TaskQuery
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["count_runs", "count_tasks", "prune", "runs", "tasks"]


def tasks(shelves: Shelves, query: TaskQuery) -> list[TaskRecord]:
    """Return the tasks of a page."""
    return page_of_tasks(_meant(shelves, query), query, partial(_last_state, shelves))


def count_tasks(shelves: Shelves, query: TaskQuery) -> int:
    """Do a reader's `count_tasks`."""
    return len(matching_tasks(_meant(shelves, query), query, partial(_last_state, shelves)))


def _meant(shelves: Shelves, query: TaskQuery) -> Iterable[TaskRecord]:
    """Return the tasks among which those of a query are."""
    if query.ids is None:
        return shelves.tasks.values()
    return [task for each in query.ids if (task := shelves.tasks.get(each)) is not None]


def _last_state(shelves: Shelves, task: TaskRecord) -> RunState | None:
    """Return how the newest run of a task ended that tells whether it fails."""
    newest = map(shelves.runs.__getitem__, sorted(shelves.runs.ids(task.id), reverse=True))
    return next((run.state for run in newest if _tells(run, task)), None)


def _tells(run: RunRecord, task: TaskRecord) -> bool:
    return run.generation == task.generation and run.state in TELLING


def runs(shelves: Shelves, query: RunQuery) -> Iterable[RunRecord]:
    """Return the runs of a page."""
    return islice(_newest(shelves, query), query.offset, query.offset + query.limit)


def count_runs(shelves: Shelves, query: RunQuery) -> int:
    """Do a reader's `count_runs`."""
    if query.among is not None:
        return sum(1 for _ in _newest(shelves, replace(query, before=None)))
    kept = shelves.runs if query.task_id is None else shelves.runs.of_task(query.task_id)
    return sum(fits(run, query) for run in kept)


def _newest(shelves: Shelves, query: RunQuery) -> Iterator[RunRecord]:
    # Nearly in order already: several nodes may have added runs of the same moment.
    ids = sorted(shelves.runs.ids(query.task_id))
    if query.before is not None:
        del ids[bisect_left(ids, query.before[1]) :]
    newest = map(shelves.runs.__getitem__, reversed(ids))
    return (run for run in looked_at(newest, query) if fits(run, query))


def prune(shelves: Shelves, request: PruneRequest) -> int:
    """Do a store's `prune`."""
    old = _old_runs(shelves, request)
    finished = [task.id for task in shelves.tasks.values() if _is_over(shelves, task, request)]
    for run in old:
        shelves.forget(run)
    del finished[request.limit :]
    for task_id in finished:
        shelves.drop(task_id)
    return len(old) + len(finished)


def _is_over(shelves: Shelves, task: TaskRecord, request: PruneRequest) -> bool:
    return (
        task.state is ScheduleState.FINISHED
        and task.active == 0
        and isinstance(task.definition, Definition)
        and task.definition.disposable
        and task.updated_us < request.before_us
        and not shelves.runs.ids(task.id)
    )


def _old_runs(shelves: Shelves, request: PruneRequest) -> list[RunRecord]:
    """Return runs that are over and may be forgotten: expired and aged ones first."""
    old = {run.id: run for run in shelves.expired(request.now_us, request.limit)}
    for run in shelves.runs:
        if len(old) >= request.limit or run.created_us >= request.before_us:
            break
        aged = run.expires_us is None and (run.finished_us or 0) < request.before_us
        if aged and _may_go(run):
            old[run.id] = run
    for task_id, kept in request.histories.items():
        if len(shelves.runs.ids(task_id)) <= kept:
            continue
        over = [run for run in shelves.runs.of_task(task_id) if _may_go(run)]
        old.update({run.id: run for run in over[: max(0, len(over) - kept)]})
    return list(islice(old.values(), request.limit))


def _may_go(run: RunRecord) -> bool:
    return run.state in TERMINAL and run.node is None
