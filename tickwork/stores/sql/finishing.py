"""Writing what happened to leased runs, in SQL.

Nearly always all leases of a batch still hold, so it is written under that condition, with a few
statements for all rows, and only if the database says that fewer rows were touched is it taken
back and done again after looking which leases were lost.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Update, bindparam, case, func, null, select, update

from tickwork.model.definition import Unreadable
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import TASK_REMOVED, Batch, Finished, GivenBack, Mark
from tickwork.stores.sql.many import New
from tickwork.stores.sql.rows import task_of, word_of
from tickwork.stores.sql.session import Session, chunks, named

__all__ = ["finish", "let_go"]

_TERMINAL = frozenset(state.value for state in TERMINAL)


class _LeaseLostError(Exception):
    """Fewer rows were touched than the batch has entries."""


def finish(session: Session, batch: Batch) -> frozenset[str]:
    """Do a store's `finish`."""
    try:
        with session.database.writing() as connection:
            _write(session, connection, batch)
            return frozenset()
    except _LeaseLostError:
        pass
    with session.database.writing() as connection:
        holding, rejected = _sorted_out(session, connection, batch)
        _write(session, connection, holding)
        return rejected


def _write(session: Session, connection: Connection, batch: Batch) -> None:
    _write_marks(session, connection, batch.marks)
    for given_back in _alike(batch.given_back):
        _write_given_back(session, connection, given_back)
    if batch.given_back:
        session.database.hint(connection)
        session.end_orphans(connection, [each.run_id for each in batch.given_back])
    _write_finished(session, connection, batch.finished)
    over = Counter((each.task_id, each.generation) for each in batch.finished)
    follows = {
        (each.task_id, each.generation): each.finished_us for each in batch.finished if each.follows
    }
    let_go(session, connection, over, follows, batch.after_run)


def _alike(given_back: Sequence[GivenBack]) -> list[list[GivenBack]]:
    groups: dict[tuple[bool, bool], list[GivenBack]] = {}
    for each in given_back:
        groups.setdefault((each.started, each.error is not None), []).append(each)
    return list(groups.values())


def _held(session: Session) -> tuple[Any, ...]:
    """Return the conditions under which a lease still holds."""
    runs = session.tables.runs
    return (
        runs.c.id == bindparam("b_id"),
        runs.c.fence == bindparam("b_fence"),
        runs.c.node.is_not(None),
    )


def _all_touched(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    if rows and connection.execute(statement, rows).rowcount != len(rows):
        raise _LeaseLostError


def _write_marks(session: Session, connection: Connection, marks: Sequence[Mark]) -> None:
    runs = session.tables.runs
    waits = runs.c.state == RunState.PENDING.value
    started_us = case((waits, bindparam("b_started_us")), else_=runs.c.started_us)
    statement = session.once(
        "mark",
        lambda: (
            update(runs)
            .where(*_held(session))
            .ordered_values(
                # A start that is written down already stays as it is. Before the state is changed:
                # MySQL goes by what it has changed already.
                (runs.c.started_us, started_us),
                (runs.c.state, RunState.RUNNING.value),
            )
        ),
    )
    rows = [
        {"b_id": each.run_id, "b_fence": each.fence, "b_started_us": each.started_us}
        for each in marks
    ]
    _all_touched(connection, statement, rows)


def _write_given_back(
    session: Session, connection: Connection, given_back: Sequence[GivenBack]
) -> None:
    runs = session.tables.runs
    values: dict[str, Any] = {
        "state": RunState.PENDING.value,
        "node": None,
        "available_us": bindparam("b_available_us"),
        "reason": bindparam("b_reason"),
    }
    if not given_back[0].started:
        values |= {"attempt": runs.c.attempt - 1, "started_us": None}
    elif given_back[0].error is not None:
        values |= {"failures": runs.c.failures + 1, "errors": bindparam("b_errors")}
    rows = [
        {
            "b_id": each.run_id,
            "b_fence": each.fence,
            "b_available_us": each.available_us,
            "b_reason": each.reason,
            **({"b_errors": each.error} if each.error is not None else {}),
        }
        for each in given_back
    ]
    _all_touched(connection, update(runs).where(*_held(session)).values(values), rows)


def _write_finished(session: Session, connection: Connection, finished: list[Finished]) -> None:
    runs = session.tables.runs

    def make(new: New) -> Update:
        return (
            update(runs)
            .where(
                runs.c.id == new["its_id"],
                runs.c.fence == new["its_fence"],
                runs.c.node.is_not(None),
            )
            .values(
                state=new["state"],
                node=null(),
                started_us=func.coalesce(new["started_us"], runs.c.started_us),
                finished_us=new["finished_us"],
                result=new["result"],
                errors=func.coalesce(new["errors"], runs.c.errors),
                failures=runs.c.failures + new["failed"],
                reason=new["reason"],
            )
        )

    rows = [
        (
            each.run_id,
            each.fence,
            word_of(each.state),
            each.started_us,
            each.finished_us,
            each.result,
            each.errors,
            int(each.errors is not None and each.state is not RunState.COMPLETED),
            each.reason,
        )
        for each in finished
    ]
    if session.update(connection, _FINISHED, make, rows) != len(rows):
        raise _LeaseLostError


_FINISHED = (
    "its_id",
    "its_fence",
    "state",
    "started_us",
    "finished_us",
    "result",
    "errors",
    "failed",
    "reason",
)


def _sorted_out(
    session: Session, connection: Connection, batch: Batch
) -> tuple[Batch, frozenset[str]]:
    """Return the part of a batch that still holds its leases, and the ids whose lease was lost.

    What was written by an earlier, identical call is in neither.
    """
    runs = session.tables.runs
    entries: list[Mark | GivenBack | Finished] = [*batch.marks, *batch.given_back, *batch.finished]
    rows: dict[str, Any] = {}
    for some in chunks([each.run_id for each in entries]):
        found = select(
            runs.c.id, runs.c.fence, runs.c.node, runs.c.state, runs.c.finished_us, runs.c.reason
        ).where(runs.c.id.in_(some))
        rows.update({row.id: row for row in connection.execute(found.with_for_update())})
    holding = Batch(batch.after_run)
    rejected = set()
    ended: dict[str, GivenBack | Finished] = {}
    for each in entries:
        row = rows.get(each.run_id)
        if row is None or row.fence != each.fence:
            rejected.add(each.run_id)
        elif each.run_id in ended:
            # Named twice: the first ended the lease, the same again changes nothing.
            if each != ended[each.run_id]:
                rejected.add(each.run_id)
        elif row.node is not None:
            _add(holding, each)
            if not isinstance(each, Mark):
                ended[each.run_id] = each
        elif not _was_written(row, each):
            rejected.add(each.run_id)
    return holding, frozenset(rejected)


def _add(batch: Batch, entry: Mark | GivenBack | Finished) -> None:
    if isinstance(entry, Mark):
        batch.marks.append(entry)
    elif isinstance(entry, GivenBack):
        batch.given_back.append(entry)
    else:
        batch.finished.append(entry)


def _was_written(row: Any, entry: Mark | GivenBack | Finished) -> bool:
    if isinstance(entry, Finished):
        return bool(row.state == entry.state.value and row.finished_us == entry.finished_us)
    # One given back whose task was gone is over by that.
    over = row.state in _TERMINAL and row.reason != TASK_REMOVED
    return isinstance(entry, GivenBack) and not over


def let_go(  # noqa: PLR0917  one step of two others, in their transaction
    session: Session,
    connection: Connection,
    over: Counter[tuple[str, int]],
    follows: Mapping[tuple[str, int], int],
    after_run: Callable[[TaskRecord, int], None],
) -> None:
    """Let tasks go on of which some runs (`over`, by id and generation) have ended."""
    if not over:
        return
    tasks = session.tables.tasks
    standing = _locked(session, connection, sorted({task_id for task_id, _ in over}))

    def make(new: New) -> Update:
        return (
            update(tasks)
            .where(tasks.c.id == new["its_id"], tasks.c.generation == new["its_generation"])
            .values(active=tasks.c.active - new["over"])
        )

    rows = [(*key, count) for key, count in sorted(over.items())]
    session.update(connection, ("its_id", "its_generation", "over"), make, rows)
    going_on = [
        row.id
        for row in standing
        if (row.id, row.generation) in over and (row.queued or (row.id, row.generation) in follows)
    ]
    if going_on:
        session.database.hint(connection)
    for some in chunks(going_on):
        for row in connection.execute(select(tasks).where(tasks.c.id.in_(some))).all():
            task = task_of(row, session.environment.codec)
            followed_us = follows.get((task.id, task.generation))
            _go_on(session, connection, task, followed_us, after_run)


def _locked(session: Session, connection: Connection, task_ids: Sequence[str]) -> Sequence[Any]:
    """Lock tasks, in one order: two who lock the same ones never wait for each other."""
    tasks = session.tables.tasks
    found = (
        select(tasks.c.id, tasks.c.generation, tasks.c.queued)
        .where(tasks.c.id.in_(named(session, "ids", task_ids)))
        .order_by(tasks.c.id)
        .with_for_update()
    )
    return connection.execute(found).all()


def _go_on(  # noqa: PLR0917  as above
    session: Session,
    connection: Connection,
    task: TaskRecord,
    finished_us: int | None,
    after_run: Callable[[TaskRecord, int], None],
) -> None:
    if task.queued:
        _release(session, connection, task)
    if finished_us is not None and not isinstance(task.definition, Unreadable):
        after_run(task, finished_us)
        task.revision += 1
    session.update_task(connection, task)


def _release(session: Session, connection: Connection, task: TaskRecord) -> None:
    """Make as many queued runs available as may run now; the oldest first."""
    definition = task.definition
    limit = 1 if isinstance(definition, Unreadable) else definition.max_instances
    runs = session.tables.runs
    room = limit - (task.active - task.queued)
    if room <= 0:
        return
    queued = runs.c.queued_us.is_not(None)
    mine = (runs.c.task_id == task.id, runs.c.generation == task.generation, queued)
    longest = select(runs.c.id).where(*mine).order_by(runs.c.queued_us, runs.c.id).limit(room)
    free = list(connection.execute(longest).scalars())
    task.queued = task.queued - len(free) if len(free) == room else 0
    for some in chunks(free):
        connection.execute(
            update(runs)
            .where(runs.c.id.in_(some))
            .values(available_us=runs.c.queued_us, queued_us=None)
        )
