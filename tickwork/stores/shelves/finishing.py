"""Writing what happened to leased runs that are held in memory, and what follows from it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import (
    TASK_REMOVED,
    AfterRun,
    Batch,
    CancelRequest,
    Ended,
    Finished,
    GivenBack,
    Mark,
    Note,
)
from tickwork.stores.shelves.shelves import Shelves

__all__ = [
    "Key",
    "cancel",
    "count_over",
    "definition_of",
    "finish",
    "followed",
    "move_on",
    "offer_again",
    "submit",
]

Key = tuple[str, int]
"""A task's id and generation."""


def finish(shelves: Shelves, batch: Batch, now_us: int) -> frozenset[str]:
    """Do a store's `finish`."""
    moved = _moved(shelves, batch)
    for note in batch.notes:
        _note(shelves, note)
    rejected = [each.run_id for each in batch.marks if not _mark(shelves, each)]
    rejected += [each.run_id for each in batch.given_back if not _give_back(shelves, each, now_us)]
    rejected += [each.run_id for each in batch.finished if not _finish(shelves, each)]
    move_on(shelves, moved)
    return frozenset(rejected)


def _moved(shelves: Shelves, batch: Batch) -> list[TaskRecord]:
    """Return the tasks that a batch moves on, as they will be: first, since this may raise."""
    if not any(each.follows for each in batch.finished):
        return []
    done = {each.run_id for each in batch.given_back if _is_leased(shelves, each)}
    over: Counter[Key] = Counter()
    follows: dict[Key, list[Ended]] = {}
    for each in batch.finished:
        run = _held(shelves, each.run_id, each.fence)
        if run is None or run.node is None or each.run_id in done or each.lingers:
            continue
        done.add(each.run_id)
        key = run.task_id, run.generation
        over[key] += 1
        if each.follows:
            follows.setdefault(key, []).append(Ended(each.state, each.finished_us))
    return followed(shelves, over, follows, batch.after_run)


def _is_leased(shelves: Shelves, back: GivenBack) -> bool:
    """Whether an entry is about the lease that holds now, and not about one before it."""
    run = _held(shelves, back.run_id, back.fence)
    return run is not None and run.node is not None


def followed(
    shelves: Shelves,
    over: Counter[Key],
    follows: Mapping[Key, Sequence[Ended]],
    after_run: AfterRun,
) -> list[TaskRecord]:
    """Return how tasks move on once some of their runs are over; nothing happens yet."""
    moved = []
    for (task_id, generation), ended in follows.items():
        task = shelves.tasks.get(task_id)
        alike = task is not None and task.generation == generation
        if task is not None and alike and isinstance(task.definition, Definition):
            record = copied(task)
            record.active -= over[task_id, generation]
            after_run(record, ended)
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


def definition_of(shelves: Shelves, run: RunRecord) -> Definition | Unreadable | None:
    """Return what a run executes; None where its task is gone."""
    if run.definition is not None:
        return run.definition
    task = shelves.tasks.get(run.task_id)
    return task.definition if task is not None and task.generation == run.generation else None


def _note(shelves: Shelves, note: Note) -> None:
    run = _held(shelves, note.run_id, note.fence)
    if run is not None:
        shelves.note(run)
        run.progress = note.progress or run.progress
        run.log = note.log or run.log
        if run.state in TERMINAL and run.node is None:
            shelves.settle(run)


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
    # Whoever asked for its end needn't wait for what it waits for.
    available_us = back.available_us if run.cancel_us is None else run.cancel_us
    offer_again(shelves, run, available_us, now_us)
    return True


def offer_again(shelves: Shelves, run: RunRecord, available_us: int, now_us: int) -> None:
    """Make a run pending again; one whose task is gone meanwhile is over."""
    if definition_of(shelves, run) is not None:
        run.state = RunState.PENDING
        shelves.offer(run, available_us)
        return
    shelves.cancel(run, TASK_REMOVED, now_us)


def _finish(shelves: Shelves, finished: Finished) -> bool:
    run = _held(shelves, finished.run_id, finished.fence)
    if run is None:
        return False
    over = run.state in TERMINAL
    if run.node is None or (over and finished.lingers):
        return run.state is finished.state and run.finished_us == finished.finished_us
    if finished.lingers:
        shelves.note(run)
    else:
        shelves.unlease(run)
    run.state = finished.state
    if finished.started_us is not None:
        run.started_us = finished.started_us
    run.finished_us = finished.finished_us
    run.result, run.reason = finished.result, finished.reason
    if finished.errors is not None:
        run.errors = finished.errors
        run.failures += finished.state is not RunState.COMPLETED
    if finished.expires_us != run.expires_us:
        shelves.let_expire(run, finished.expires_us)
    if not finished.lingers:
        count_over(shelves, run)
        shelves.settle(run)
    return True


def submit(shelves: Shelves, runs: Sequence[RunRecord]) -> None:
    """Do a store's `submit`."""
    for run in runs:
        if run.id not in shelves.runs:
            kept = copied(run)
            shelves.keep(kept)
            shelves.offer(kept, run.available_us or 0)


def cancel(shelves: Shelves, request: CancelRequest) -> list[RunRecord | None]:
    """Do a store's `cancel`."""
    named = {run_id: shelves.runs.get(run_id) for run_id in request.run_ids}
    runs = [run for run in named.values() if run is not None and run.state not in TERMINAL]
    free = [run for run in runs if run.node is None]
    over = Counter((run.task_id, run.generation) for run in free)
    ended = Ended(RunState.CANCELLED, request.now_us)
    moved = followed(
        shelves, over, {key: [ended] * count for key, count in over.items()}, request.after_run
    )
    for run in runs:
        if run.node is None:
            queued = run.available_us is None and run.gated_us is None
            shelves.cancel(run, request.reason, request.now_us)
            if queued:
                shelves.leave_queue(run)
            count_over(shelves, run)
        elif run.cancel_us is None:
            shelves.note(run)
            run.cancel_us = request.now_us
    move_on(shelves, moved)
    return [None if run is None else copied(run) for run in map(named.get, request.run_ids)]


def count_over(shelves: Shelves, run: RunRecord) -> None:
    """Count a run that is over now; let queued ones of its task go, and the next have its key."""
    if run.key is not None:
        shelves.let_go_of_key(run)
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
