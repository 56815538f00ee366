"""Adding and changing tasks that are held in memory.

Decisions come first: if one raises, nothing has happened yet.
"""

from collections.abc import Callable, Sequence

from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import TASK_REMOVED, Edit, Edited, PlannedRun, new_run
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["edit", "line_up", "put"]

NewId = Callable[[], str]


def put(
    shelves: Shelves,
    tasks: Sequence[TaskRecord],
    decide: Callable[[TaskRecord, TaskRecord], Edit],
    *,
    new_id: NewId,
    now_us: int,
) -> list[Edited]:
    """Do a store's `put`."""
    if _are_new(shelves, tasks):
        return [_begin(shelves, task) for task in tasks]
    foreseen = _Foreseen(shelves)
    edits = []
    for task in tasks:
        existing = foreseen.task(task.id)
        each = Edit(task) if existing is None else decide(copied(existing), task)
        foreseen.note(task.id, existing, each)
        edits.append(each)
    return [
        _apply(shelves, task.id, each, new_id, now_us)
        for task, each in zip(tasks, edits, strict=True)
    ]


def _are_new(shelves: Shelves, tasks: Sequence[TaskRecord]) -> bool:
    """Whether there is nothing to decide, as nearly always: no id is known, or named twice."""
    ids = {task.id for task in tasks}
    return len(ids) == len(tasks) and shelves.tasks.keys().isdisjoint(ids)


def _begin(shelves: Shelves, task: TaskRecord) -> Edited:
    shelves.place(copied(task))
    # What was given is a copy of what is kept.
    return Edited(task)


def edit(
    shelves: Shelves,
    ids: Sequence[str],
    decide: Callable[[TaskRecord], Edit],
    *,
    new_id: NewId,
    now_us: int,
) -> list[Edited]:
    """Do a store's `edit`."""
    foreseen = _Foreseen(shelves)
    edits: list[Edit | None] = []
    for task_id in ids:
        existing = foreseen.task(task_id)
        each = None if existing is None else decide(copied(existing))
        if each is not None:
            foreseen.note(task_id, existing, each)
        edits.append(each)
    return [
        Edited(None) if each is None else _apply(shelves, task_id, each, new_id, now_us)
        for task_id, each in zip(ids, edits, strict=True)
    ]


class _Foreseen:
    """Tasks as they will be after the edits of a call, for ids that it names more than once."""

    def __init__(self, shelves: Shelves) -> None:
        self._kept = shelves.tasks
        self._new: dict[str, TaskRecord | None] = {}

    def task(self, task_id: str) -> TaskRecord | None:
        return self._new[task_id] if task_id in self._new else self._kept.get(task_id)

    def note(self, task_id: str, existing: TaskRecord | None, edit: Edit) -> None:
        if existing is None or edit.task is None:
            self._new[task_id] = edit.task
        elif not edit.unchanged:
            task = self._new[task_id] = copied(edit.task)
            task.revision = existing.revision + 1
            if task.generation == existing.generation:
                task.active = existing.active + sum(_is_pending(each) for each in edit.runs)
                task.made = existing.made + sum(_is_made(each) for each in edit.runs)


def _is_pending(planned: PlannedRun) -> bool:
    return planned.state is RunState.PENDING


def _is_made(planned: PlannedRun) -> bool:
    return _is_pending(planned) and planned.source is Source.SCHEDULED


def _apply(  # noqa: PLR0917  cut out of the functions above, which both end with it
    shelves: Shelves, task_id: str, edit: Edit, new_id: NewId, now_us: int
) -> Edited:
    existing = shelves.tasks.get(task_id)
    if existing is None:
        return _add(shelves, edit, new_id, now_us)
    if edit.unchanged:
        return Edited(copied(existing))
    # Runs that an edit adds still belong to the task that was there.
    made = _make(shelves, existing, edit.runs, new_id, now_us)
    task = None if edit.task is None else copied(edit.task)
    stays = task is not None and task.generation == existing.generation
    reason = edit.cancel_pending
    if reason is not None or not stays:
        # Nobody could ever execute the runs of a task that is gone.
        _cancel_pending(shelves, existing, reason or TASK_REMOVED, now_us)
    if task is None:
        shelves.drop(task_id)
    else:
        task.revision = existing.revision + 1
        if stays:
            task.active, task.queued = existing.active, existing.queued
            task.made = existing.made
        shelves.place(task, existing.due_us)
    return Edited(copied(task) if task else None, [copied(run) for run in made])


def _add(shelves: Shelves, edit: Edit, new_id: NewId, now_us: int) -> Edited:
    if edit.task is None:
        return Edited(None)
    task = copied(edit.task)
    made = _make(shelves, task, edit.runs, new_id, now_us)
    shelves.place(task)
    return Edited(copied(task), [copied(run) for run in made])


def _make(  # noqa: PLR0917  as above
    shelves: Shelves,
    task: TaskRecord,
    planned: Sequence[PlannedRun],
    new_id: NewId,
    now_us: int,
) -> list[RunRecord]:
    made = []
    for each in planned:
        run = new_run(each, task, new_id(), now_us, None, 0)
        if shelves.keep(run):
            made.append(run)
            line_up(shelves, task, run, queued=each.queued)
    return made


def line_up(shelves: Shelves, task: TaskRecord, run: RunRecord, *, queued: bool) -> None:
    """Count a new run of a task, and offer or queue it, if it is pending."""
    if run.state is not RunState.PENDING:
        return
    task.active += 1
    task.made += run.source is Source.SCHEDULED
    if queued:
        task.queued += 1
        shelves.queue(run)
    else:
        shelves.offer(run, run.due_us or 0)


def _cancel_pending(shelves: Shelves, task: TaskRecord, reason: str, now_us: int) -> None:
    for run in shelves.runs.of_task(task.id):
        waits = run.state is RunState.PENDING and run.node is None
        if waits and run.generation == task.generation:
            shelves.cancel(run, reason, now_us)
            task.active -= 1
    task.queued = 0
    shelves.queues.pop((task.id, task.generation), None)
