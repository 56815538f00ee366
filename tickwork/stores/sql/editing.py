"""Adding and changing tasks in SQL.

Many tasks that are added together are new, nearly always. To look each of them up would take half
as long as to insert it. So only some are, and if none of these is there, all are inserted at once:
the primary key knows. If it objects, nothing has happened yet, and each is looked up and decided
about.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import TASK_REMOVED, Edit, Edited
from tickwork.stores.sql.gates import NO_KEY, Keys, lock_gates, open_gates
from tickwork.stores.sql.making import make_runs
from tickwork.stores.sql.rows import run_of, task_of
from tickwork.stores.sql.session import CHUNK, Session, chunks, named

__all__ = ["edit", "put"]

_TRIES = 3
_SAMPLE = 20


def put(
    session: Session,
    tasks: Sequence[TaskRecord],
    decide: Callable[[TaskRecord, TaskRecord], Edit],
    new_id: Callable[[], str],
) -> Sequence[Edited]:
    """Do a store's `put`."""
    # As many as one statement names are looked up as fast as some of them.
    seem_new = len(tasks) > CHUNK and _seem_new(session, tasks)
    for _ in range(_TRIES + seem_new):
        try:
            with session.database.writing() as connection:
                session.database.hint(connection)
                if not seem_new:
                    return _put(session, connection, tasks, decide, new_id)
                session.insert_tasks(connection, tasks)
                return _Added(tasks)
        except IntegrityError:
            # One of them isn't new, or somebody added the same task in this moment: now it is there
            # to decide about.
            seem_new = False
    raise StoreUnavailableError("tasks of these ids are being added and removed; will try again")


class _Added(Sequence[Edited]):
    """The answers about new tasks, each made when it is looked at, and gone then.

    Kept, they would be gone through by the garbage collector. What was given is a copy of what is
    stored.
    """

    __slots__ = ("_tasks",)

    def __init__(self, tasks: Sequence[TaskRecord]) -> None:
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Added(self._tasks[at])
        return Edited(self._tasks[at])

    def __iter__(self) -> Iterator[Edited]:
        return map(Edited, self._tasks)


def _seem_new(session: Session, tasks: Sequence[TaskRecord]) -> bool:
    """Whether none of those is there that are looked up, some of all of them."""
    table = session.tables.tasks
    some = [task.id for task in tasks[:: len(tasks) // _SAMPLE]]
    with session.database.reading() as connection:
        found = select(table.c.id).where(table.c.id.in_(named(session, "ids", some))).limit(1)
        return connection.execute(found).scalar() is None


def _put(  # noqa: PLR0917  what `put` was asked, in its transaction
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
        if task.id in new:
            # The same id twice in one call: decided as if they had come one after the other.
            session.insert_tasks(connection, list(new.values()))
            existing |= {task_id: copied(added) for task_id, added in new.items()}
            new = {}
        known = existing.get(task.id)
        if known is None:
            new[task.id] = added = copied(task)
            added.revision = 0
            answers.append(Edited(added))
        else:
            edited = _apply(session, connection, known, decide(copied(known), task), new_id)
            _note(existing, task.id, edited)
            answers.append(edited)
    session.insert_tasks(connection, list(new.values()))
    return answers


def _note(existing: dict[str, TaskRecord], task_id: str, edited: Edited) -> None:
    """Remember what became of a task, for an id that is named again."""
    if edited.task is None:
        del existing[task_id]
    else:
        existing[task_id] = copied(edited.task)


def _existing(
    session: Session, connection: Connection, ids: Sequence[str]
) -> dict[str, TaskRecord]:
    found: dict[str, TaskRecord] = {}
    for some in chunks(sorted(set(ids))):
        for row in _locked(session, connection, some):
            found[row.id] = task_of(row, session.environment.codec)
    return found


def _locked(session: Session, connection: Connection, ids: Sequence[str]) -> Iterable[Row[Any]]:
    tasks = session.tables.tasks
    wanted = select(tasks).with_for_update()
    if len(ids) == 1:
        one = session.once("task", lambda: wanted.where(tasks.c.id == bindparam("b_id")))
        return connection.execute(one, {"b_id": ids[0]})
    # In one order: two who lock the same tasks never wait for each other.
    some = wanted.where(tasks.c.id.in_(named(session, "ids", ids)))
    return connection.execute(some.order_by(tasks.c.id))


def edit(
    session: Session,
    ids: Sequence[str],
    decide: Callable[[TaskRecord], Edit],
    new_id: Callable[[], str],
) -> list[Edited]:
    """Do a store's `edit`."""
    with session.database.writing() as connection:
        session.database.hint(connection)
        existing = _existing(session, connection, ids)
        answers = []
        for task_id in ids:
            task = existing.get(task_id)
            if task is None:
                answers.append(Edited(None))
                continue
            edited = _apply(session, connection, task, decide(copied(task)), new_id)
            _note(existing, task_id, edited)
            answers.append(edited)
        return answers


def _apply(  # noqa: PLR0917  as above
    session: Session,
    connection: Connection,
    existing: TaskRecord,
    edit: Edit,
    new_id: Callable[[], str],
) -> Edited:
    if edit.unchanged:
        return Edited(existing)
    # Runs that an edit adds still belong to the task that was there.
    made = make_runs(session, connection, existing, edit, new_id)
    task = None if edit.task is None else copied(edit.task)
    stays = task is not None and task.generation == existing.generation
    reason = edit.cancel_pending
    if reason is not None or not stays:
        # Nobody could ever execute the runs of a task that is gone.
        _cancel_pending(session, connection, existing, reason or TASK_REMOVED)
        made = [_existing_run(session, connection, run.id) for run in made]
    if task is None:
        tasks = session.tables.tasks
        connection.execute(delete(tasks).where(tasks.c.id == existing.id))
        return Edited(None, made)
    if stays:
        task.active, task.queued = existing.active, existing.queued
        task.made = existing.made
    task.revision = existing.revision + 1
    session.update_task(connection, task)
    return Edited(task, made)


def _existing_run(session: Session, connection: Connection, run_id: str) -> RunRecord:
    runs = session.tables.runs
    found = connection.execute(select(*session.run).where(runs.c.id == run_id)).one()
    return run_of(found, session.environment.codec)


def _cancel_pending(
    session: Session, connection: Connection, task: TaskRecord, reason: str
) -> None:
    """Cancel what is pending and not leased, and count it on the record of its task."""
    runs = session.tables.runs
    mine = (
        runs.c.task_id == task.id,
        runs.c.generation == task.generation,
        runs.c.state == RunState.PENDING.value,
        runs.c.node.is_(None),
    )
    keys = _keys(session, connection, mine)
    task.active -= connection.execute(
        update(runs)
        .where(*mine)
        .values(
            state=RunState.CANCELLED.value,
            reason=reason,
            finished_us=session.environment.now_us(),
            available_us=None,
            queued_us=None,
            **NO_KEY,
        )
    ).rowcount
    task.queued = 0
    open_gates(session, connection, keys)


def _keys(session: Session, connection: Connection, which: tuple[Any, ...]) -> Keys:
    """Return the keys that some runs hold or wait for, and will until we have decided."""
    runs = session.tables.runs
    keyed = select(runs.c.id).where(*which, runs.c.key.is_not(None)).limit(1)
    if connection.execute(keyed).scalar() is None:
        return Keys()
    lock_gates(session, connection)
    found = connection.execute(select(runs.c.held_key, runs.c.awaited_key).where(*which)).all()
    return Keys(held or awaited for held, awaited in found if held or awaited)
