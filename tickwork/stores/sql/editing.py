"""Adding and changing tasks in SQL."""

from collections import Counter
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit, Edited
from tickwork.stores.sql.finishing import let_go
from tickwork.stores.sql.rows import task_of
from tickwork.stores.sql.session import Session, chunks

__all__ = ["edit", "put"]

_TRIES = 3


def put(
    session: Session,
    tasks: Sequence[TaskRecord],
    decide: Callable[[TaskRecord, TaskRecord], Edit],
    new_id: Callable[[], str],
) -> list[Edited]:
    """Do a store's `put`."""
    for _ in range(_TRIES):
        try:
            with session.database.writing() as connection:
                return _put(session, connection, tasks, decide, new_id)
        except IntegrityError:
            # Somebody added the same task in this moment: now it is there to decide about.
            continue
    raise StoreUnavailableError("tasks of these ids are being added and removed; will try again")


def _put(
    session: Session,
    connection: Connection,
    tasks: Sequence[TaskRecord],
    decide: Callable[[TaskRecord, TaskRecord], Edit],
    new_id: Callable[[], str],
) -> list[Edited]:
    existing = _existing(session, connection, [task.id for task in tasks])
    new: dict[str, TaskRecord] = {}
    answers: list[Edited] = []
    for task in tasks:
        known = existing.get(task.id) or new.get(task.id)
        if known is None:
            new[task.id] = task
            answers.append(Edited(task))
        elif task.id in new:
            # The same id twice in one call: decided as if they had come one after the other.
            decided = decide(known, task)
            if decided.task is not None:
                new[task.id] = decided.task
            answers.append(Edited(decided.task))
        else:
            edited = _apply(session, connection, known, decide(known, task), new_id)
            if edited.task is not None:
                existing[task.id] = edited.task
            answers.append(edited)
    session.insert_tasks(connection, list(new.values()))
    return answers


def _existing(
    session: Session, connection: Connection, ids: Sequence[str]
) -> dict[str, TaskRecord]:
    tasks = session.tables.tasks
    found: dict[str, TaskRecord] = {}
    for some in chunks(ids):
        rows = connection.execute(select(tasks).where(tasks.c.id.in_(some)).with_for_update())
        for row in rows:
            found[row.id] = task_of(row, session.environment.codec)
    return found


def edit(
    session: Session,
    ids: Sequence[str],
    decide: Callable[[TaskRecord], Edit],
    new_id: Callable[[], str],
) -> list[Edited]:
    """Do a store's `edit`."""
    with session.database.writing() as connection:
        existing = _existing(session, connection, ids)
        answers = []
        for task_id in ids:
            task = existing.get(task_id)
            if task is None:
                answers.append(Edited(None))
                continue
            answers.append(_apply(session, connection, task, decide(task), new_id))
        return answers


def _apply(
    session: Session,
    connection: Connection,
    existing: TaskRecord,
    edit: Edit,
    new_id: Callable[[], str],
) -> Edited:
    if edit.unchanged:
        return Edited(existing)
    made = session.make_runs(connection, existing, edit, new_id)
    task = edit.task
    tasks = session.tables.tasks
    if task is None:
        connection.execute(delete(tasks).where(tasks.c.id == existing.id))
    else:
        if task.generation == existing.generation:
            task.active, task.queued = existing.active, existing.queued
        task.revision = existing.revision + 1
        session.update_task(connection, task)
    if edit.cancel_pending is not None:
        _cancel_pending(session, connection, existing, edit.cancel_pending)
        if task is not None:
            task = _existing(session, connection, [task.id])[task.id]
    return Edited(task, made)


def _cancel_pending(
    session: Session, connection: Connection, task: TaskRecord, reason: str
) -> None:
    runs = session.tables.runs
    now_us = session.environment.now_us()
    cancelled = connection.execute(
        update(runs)
        .where(
            runs.c.task_id == task.id,
            runs.c.generation == task.generation,
            runs.c.state == RunState.PENDING.value,
            runs.c.node.is_(None),
        )
        .values(
            state=RunState.CANCELLED.value,
            reason=reason,
            finished_us=now_us,
            available_us=None,
            queued_us=None,
        )
    ).rowcount
    if cancelled:
        over = Counter({(task.id, task.generation): cancelled})
        let_go(session, connection, over, {}, _nothing_follows)


def _nothing_follows(_task: TaskRecord, _finished_us: int) -> None:
    """A task whose pending runs are cancelled isn't moved on by that."""
