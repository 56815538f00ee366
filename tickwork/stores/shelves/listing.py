"""Filters, sorting and pages over what is held in memory."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from tickwork.model.definition import Definition
from tickwork.model.policies import TERMINAL, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import PruneRequest, RunQuery
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["prune", "runs"]


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
        shelves.drop(task_id)
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
    """Return runs that are over and may be forgotten: expired and aged ones first."""
    old = {run.id: run for run in shelves.expired(request.now_us, request.limit)}
    for run in shelves.runs.values():
        if len(old) >= request.limit or run.created_us >= request.before_us:
            break
        aged = run.expires_us is None and (run.finished_us or 0) < request.before_us
        if aged and _may_go(run):
            old[run.id] = run
    for task_id, kept in request.histories.items():
        over = [run for run in shelves.runs_of(task_id).values() if _may_go(run)]
        old.update({run.id: run for run in over[: max(0, len(over) - kept)]})
    return list(islice(old.values(), request.limit))


def _may_go(run: RunRecord) -> bool:
    return run.state in TERMINAL and run.node is None
