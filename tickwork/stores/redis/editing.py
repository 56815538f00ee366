"""Adding and changing tasks in Redis.

Edits are made on copies first, one after the other as they are named, and what has come of them is
then written at once.
"""

from collections.abc import Callable, Sequence

from tickwork.errors import UnreadableRecordError
from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import TASK_REMOVED, Edit, Edited, PlannedRun, new_run
from tickwork.stores.redis.changing import Traces, let_through, traces
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.letting_go import cancelled
from tickwork.stores.redis.run_texts import KeptRun
from tickwork.stores.redis.session import Session
from tickwork.stores.redis.slots import free_slots
from tickwork.stores.redis.texts import KeptTask, new_task

__all__ = ["edit", "put"]

_PAGE = 500

NewId = Callable[[], str]


def put(
    session: Session,
    tasks: Sequence[TaskRecord],
    decide: Callable[[TaskRecord, TaskRecord], Edit],
    new_id: NewId,
) -> list[Edited]:
    """Do a store's `put`."""
    ids = [task.id for task in tasks]
    # One alone is new nearly always: it is read only if it turns out not to be.
    unread = ids if len(ids) == 1 else []

    def step() -> list[Edited]:
        nonlocal unread
        read, unread = [] if unread else ids, []
        editing = _Editing(session, read, new_id)
        answers = [editing.put(task, decide) for task in tasks]
        return editing.committed(answers)

    return session.persistently(step)


def edit(
    session: Session, ids: Sequence[str], decide: Callable[[TaskRecord], Edit], new_id: NewId
) -> list[Edited]:
    """Do a store's `edit`."""

    def step() -> list[Edited]:
        editing = _Editing(session, ids, new_id)
        answers = [editing.edit(each, decide) for each in ids]
        return editing.committed(answers)

    return session.persistently(step)


class _Editing:
    """The tasks of one call as they were, and as they will be."""

    def __init__(self, session: Session, ids: Sequence[str], new_id: NewId) -> None:
        self._session = session
        self._new_id = new_id
        self._now_us = session.environment.now_us()
        self._tasks: dict[str, KeptTask | None] = dict(session.tasks(list(map(word, ids))))
        self._before: dict[str, Traces | None] = {}
        self._made: list[RunRecord] = []
        self._open: dict[tuple[str, int], list[KeptRun]] = {}
        self._ended: dict[str, RunRecord] = {}
        self._active = {
            (each, kept.record.generation): kept.record.active
            for each, kept in self._tasks.items()
            if kept is not None
        }

    def put(self, task: TaskRecord, decide: Callable[[TaskRecord, TaskRecord], Edit]) -> Edited:
        """Add a task, or change the one that is there, as decided."""
        existing = self._tasks.get(word(task.id))
        if existing is not None and existing.odd:
            raise UnreadableRecordError(
                f"task {task.id!r} is kept in a way that this version can't understand; update "
                "tickwork here, or use another id"
            )
        if existing is not None:
            return self._apply(existing, decide(copied(existing.record), task))
        added = copied(task)
        added.revision = 0
        self._place(word(task.id), new_task(added, self._session.environment.codec))
        return Edited(copied(added))

    def edit(self, task_id: str, decide: Callable[[TaskRecord], Edit]) -> Edited:
        """Change a task as decided."""
        existing = self._tasks.get(word(task_id))
        if existing is None or existing.odd:
            return Edited(None)
        return self._apply(existing, decide(copied(existing.record)))

    def _place(self, task: str, kept: KeptTask | None) -> None:
        if task not in self._before:
            existing = self._tasks.get(task)
            self._before[task] = traces(existing) if existing else None
        self._tasks[task] = kept

    def _apply(self, existing: KeptTask, edit: Edit) -> Edited:
        if edit.unchanged:
            return Edited(copied(existing.record))
        # Noted before anything of it changes.
        self._place(existing.id_word, existing)
        # Runs that an edit adds still belong to the task that was there.
        made = self._make(existing, edit.runs)
        record = None if edit.task is None else copied(edit.task)
        stays = record is not None and record.generation == existing.record.generation
        reason = edit.cancel_pending
        if reason is not None or not stays:
            # Nobody could ever execute the runs of a task that is gone.
            self._cancel_pending(existing, reason or TASK_REMOVED)
        runs = [copied(run) for run in made]
        if record is None:
            self._place(existing.id_word, None)
            return Edited(None, runs)
        record.revision = existing.record.revision + 1
        if stays:
            record.active, record.queued = existing.record.active, existing.record.queued
            record.made = existing.record.made
        kept = existing.replaced(record, self._session.environment.codec)
        self._place(existing.id_word, kept)
        return Edited(copied(record), runs)

    def _make(self, existing: KeptTask, planned: Sequence[PlannedRun]) -> list[RunRecord]:
        task = existing.record
        earlier = [run for run in self._made if run.task_id == task.id]
        made = []
        for each in free_slots(self._session, existing, planned, earlier):
            run = new_run(each, task, self._new_id(), self._now_us, None, 0)
            made.append(run)
            if run.state is RunState.PENDING:
                task.active += 1
                task.made += each.source is Source.SCHEDULED
                task.queued += each.queued
        self._made += made
        return made

    def _cancel_pending(self, kept: KeptTask, reason: str) -> None:
        task = kept.record
        waiting = [
            run
            for run in self._made
            if run.task_id == task.id and run.generation == task.generation
        ]
        for each in self._open_runs(kept):
            if each.flag in "AGQ" and each.record.id not in self._ended:
                self._ended[each.record.id] = copied(each.record)
                waiting.append(self._ended[each.record.id])
        for run in waiting:
            if run.state is RunState.PENDING:
                cancelled(run, reason, self._now_us)
                task.active -= 1
        task.queued = 0

    def _open_runs(self, kept: KeptTask) -> list[KeptRun]:
        """Return the runs of a task that were not over when it was read."""
        key = kept.id_word, kept.record.generation
        if key not in self._open:
            count = self._active.get(key, 0)
            self._open[key] = self._find_open(kept, count) if count else []
        return self._open[key]

    def _find_open(self, kept: KeptTask, count: int) -> list[KeptRun]:
        """Read a history back to where all open runs have been seen."""
        found: list[KeptRun] = []
        before: str | None = None
        while True:
            page = self._session.history(kept.id_word, _PAGE, before)
            found += [
                run
                for run in page
                if run.flag in "AGQLMO" and run.record.generation == kept.record.generation
            ]
            if len(found) >= count or len(page) < _PAGE:
                return found
            before = page[-1].record.id

    def committed(self, answers: list[Edited]) -> list[Edited]:
        """Write all that has changed; return the answers, as it has become."""
        change = self._session.change()
        for task, before in self._before.items():
            change.move(task, before, self._tasks[task])
        change.make(self._made)
        for runs in self._open.values():
            # The oldest first: the first that lets go of a key is the first to let another have it.
            for kept in reversed(runs):
                # Also one that is leased: it would be pending if it was given back meanwhile.
                change.expect("runs", kept.record.id, kept.version)
                ended = self._ended.get(kept.record.id)
                if ended is not None:
                    change.withdraw(kept.record)
                    change.rewrite(ended)
        entered = self._session.commit(change)
        for run in (run for answer in answers for run in answer.runs):
            if run.id in entered:
                let_through(run)
        return answers
