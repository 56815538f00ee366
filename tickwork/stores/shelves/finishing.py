"""Writing what happened to leased runs that are held in memory, and what follows from it."""

from collections import Counter
from collections.abc import Callable, Mapping

from tickwork.model.definition import Definition
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import TASK_REMOVED, Batch, Finished, GivenBack, Mark
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["Key", "count_over", "finish", "followed", "move_on", "offer_again"]

Key = tuple[str, int]
"""A task's id and generation."""


def finish(shelves: Shelves, batch: Batch, now_us: int) -> frozenset[str]:
    """Do a store's `finish`."""
    moved = _moved(shelves, batch)
    rejected = [each.run_id for each in batch.marks if not _mark(shelves, each)]
    rejected += [each.run_id for each in batch.given_back if not _give_back(shelves, each, now_us)]
    rejected += [each.run_id for each in batch.finished if not _finish(shelves, each)]
    move_on(shelves, moved)
    return frozenset(rejected)


def _moved(shelves: Shelves, batch: Batch) -> list[TaskRecord]:
    """Return the tasks that a batch moves on, as they will be: first, since this may raise."""
    if not any(each.follows for each in batch.finished):
        return []
    done = {each.run_id for each in batch.given_back}
    over: Counter[Key] = Counter()
    follows: dict[Key, int] = {}
    for each in batch.finished:
        run = _held(shelves, each.run_id, each.fence)
        if run is None or run.node is None or each.run_id in done:
            continue
        done.add(each.run_id)
        key = run.task_id, run.generation
        over[key] += 1
        if each.follows:
            follows[key] = each.finished_us
    return followed(shelves, over, follows, batch.after_run)


def followed(
    shelves: Shelves,
    over: Counter[Key],
    follows: Mapping[Key, int],
    after_run: Callable[[TaskRecord, int], None],
) -> list[TaskRecord]:
    """Return how tasks move on once some of their runs are over; nothing happens yet."""
    moved = []
    for (task_id, generation), finished_us in follows.items():
        task = shelves.tasks.get(task_id)
        alike = task is not None and task.generation == generation
        if task is not None and alike and isinstance(task.definition, Definition):
            record = copied(task)
            record.active -= over[task_id, generation]
            after_run(record, finished_us)
            moved.append(record)
    return moved


def move_on(shelves: Shelves, moved: list[TaskRecord]) -> None:
    """Put tasks where they were found to move, now that their runs are counted."""
    for record in moved:
        task = shelves.tasks[record.id]
        record.revision = task.revision + 1
        record.active, record.queued = task.active, task.queued
        shelves.place(record, task.due_us)


def _held(shelves: Shelves, run_id: str, fence: int) -> RunRecord | None:
    run = shelves.runs.get(run_id)
    return run if run is not None and run.fence == fence else None


def _mark(shelves: Shelves, mark: Mark) -> bool:
    run = _held(shelves, mark.run_id, mark.fence)
    if run is None or run.node is None:
        return False
    if run.state is RunState.PENDING:
        run.state, run.started_us = RunState.RUNNING, mark.started_us
    return True


def _give_back(shelves: Shelves, back: GivenBack, now_us: int) -> bool:
    run = _held(shelves, back.run_id, back.fence)
    if run is None or (run.state in TERMINAL and run.reason != TASK_REMOVED):
        return False
    if run.node is None:
        return True
    shelves.unlease(run)
    run.reason = back.reason
    if back.started:
        run.failures += back.error is not None
        run.errors = back.error or run.errors
    else:
        run.attempt -= 1
        run.started_us = None
    offer_again(shelves, run, back.available_us, now_us)
    return True


def offer_again(shelves: Shelves, run: RunRecord, available_us: int, now_us: int) -> None:
    """Make a run pending again; one whose task is gone meanwhile is over."""
    task = shelves.tasks.get(run.task_id)
    if task is not None and task.generation == run.generation:
        run.state = RunState.PENDING
        shelves.offer(run, available_us)
        return
    shelves.cancel(run, TASK_REMOVED, now_us)


def _finish(shelves: Shelves, finished: Finished) -> bool:
    run = _held(shelves, finished.run_id, finished.fence)
    if run is None:
        return False
    if run.node is None:
        return run.state is finished.state and run.finished_us == finished.finished_us
    shelves.unlease(run)
    run.state = finished.state
    if finished.started_us is not None:
        run.started_us = finished.started_us
    run.finished_us = finished.finished_us
    run.result, run.reason = finished.result, finished.reason
    if finished.errors is not None:
        run.errors = finished.errors
        run.failures += finished.state is not RunState.COMPLETED
    count_over(shelves, run)
    return True


def count_over(shelves: Shelves, run: RunRecord) -> None:
    """Count a run that was leased and is over now, and let queued ones of its task go."""
    task = shelves.tasks.get(run.task_id)
    if task is None or task.generation != run.generation:
        return
    task.active -= 1
    if not task.queued:
        return
    key = task.id, task.generation
    queue = shelves.queues[key]
    definition = task.definition
    limit = definition.max_instances if isinstance(definition, Definition) else 1
    while queue and task.active - task.queued < limit:
        released = queue.popleft()
        task.queued -= 1
        shelves.offer(released, released.due_us or 0)
    if not queue:
        del shelves.queues[key]
