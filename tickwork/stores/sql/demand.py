"""Runs without a task, and ends on demand, in SQL."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord, copied
from tickwork.model.steps import CancelRequest, Ended
from tickwork.stores.sql.following import Ends, let_go, lock_tasks
from tickwork.stores.sql.gates import NO_KEY, Keys, lock_gates, open_gates
from tickwork.stores.sql.rows import SUBMITTED_RUN, run_of, submitted_run_row
from tickwork.stores.sql.session import Session, named

__all__ = ["asked", "cancel", "submit"]

_OVER = sorted(state.value for state in TERMINAL)
_TRIES = 3


def submit(session: Session, runs: Sequence[RunRecord]) -> None:
    """Do a store's `submit`."""
    unknown = {run.id: run for run in runs}
    for _ in range(_TRIES):
        if not unknown:
            return
        try:
            if _added_alone(session, list(unknown.values())):
                return
            with session.database.writing() as connection:
                session.database.hint(connection)
                _add(session, connection, list(unknown.values()))
                return
        except IntegrityError:
            known = _known(session, list(unknown))
            unknown = {run_id: run for run_id, run in unknown.items() if run_id not in known}
    raise StoreUnavailableError("runs of these ids are being added; will try again")


def _added_alone(session: Session, runs: Sequence[RunRecord]) -> bool:
    """Add a run that waits for no key, if it is the only one and there is a shorter way for it."""
    if len(runs) > 1 or runs[0].key is not None:
        return False
    row = submitted_run_row(_offered(runs[0]), session.environment.codec)
    return session.insert_alone(session.tables.runs, SUBMITTED_RUN, row)


def _known(session: Session, ids: Sequence[str]) -> frozenset[str]:
    runs = session.tables.runs
    with session.database.reading() as connection:
        found = select(runs.c.id).where(runs.c.id.in_(named(session, "ids", ids)))
        return frozenset(connection.execute(found).scalars())


def _add(session: Session, connection: Connection, runs: Sequence[RunRecord]) -> None:
    codec = session.environment.codec
    rows = (submitted_run_row(_offered(run), codec) for run in runs)
    session.insert(connection, session.tables.runs, SUBMITTED_RUN, rows, count=len(runs))
    open_gates(session, connection, Keys(run.key for run in runs if run.key is not None))


def _offered(run: RunRecord) -> RunRecord:
    """Return a new run as it stands before its gate is opened."""
    offered = copied(run)
    offered.available_us = run.available_us or 0
    if run.key is not None:
        offered.gated_us, offered.available_us = offered.available_us, None
    return offered


def cancel(session: Session, request: CancelRequest) -> list[RunRecord | None]:
    """Do a store's `cancel`."""
    runs = session.tables.runs
    ids = list(dict.fromkeys(request.run_ids))
    with session.database.writing() as connection:
        which = runs.c.id.in_(named(session, "ids", ids))
        _Cancelling(session, connection, request).end(which)
        codec = session.environment.codec
        rows = connection.execute(select(*session.run).where(which)).all()
        found = {row.id: run_of(row, codec) for row in rows}
    return [copied(found[each]) if each in found else None for each in request.run_ids]


class _Cancelling:
    """One transaction that ends runs on demand.

    What has to be locked is found out by looking first, so that it can be locked in the order that
    everybody keeps to: leased runs, tasks, gates, other runs. What changes between the look and the
    locks is still treated as it turns out to be.
    """

    def __init__(self, session: Session, connection: Connection, request: CancelRequest) -> None:
        self._session = session
        self._connection = connection
        self._request = request

    def end(self, which: ColumnElement[bool]) -> None:
        """End runs that aren't over, or ask for their end."""
        runs = self._session.tables.runs
        going_on = which & runs.c.state.not_in(_OVER)
        columns = (runs.c.node, runs.c.task_id, runs.c.generation, runs.c.key)
        seen = self._connection.execute(select(*columns).where(going_on)).all()
        if not seen:
            return
        asked = self._ask(going_on) if any(row.node is not None for row in seen) else 0
        free = [row for row in seen if row.node is None]
        ended = self._end(going_on, free) if free or asked < len(seen) else 0
        if asked + ended < len(seen):
            # Leased since the look.
            self._ask(going_on)

    def _ask(self, going_on: ColumnElement[bool]) -> int:
        """Write down that the end of leased runs is asked for; return how many are leased."""
        runs = self._session.tables.runs
        cancel_us = func.coalesce(runs.c.cancel_us, self._request.now_us)
        leased = going_on & runs.c.node.is_not(None)
        self._session.database.hint(self._connection)
        asked = update(runs).where(leased).values(cancel_us=cancel_us)
        return self._connection.execute(asked).rowcount

    def _end(self, going_on: ColumnElement[bool], free: Sequence[Any]) -> int:
        """End runs that nobody has leased; return how many there were."""
        session, connection, request = self._session, self._connection, self._request
        self._lock(free)
        runs = session.tables.runs
        columns = ("id", "task_id", "generation", "held_key", "awaited_key", "queued_us")
        found = select(*(runs.c[name] for name in columns))
        mine = going_on & runs.c.node.is_(None)
        rows = connection.execute(found.where(mine).order_by(runs.c.id).with_for_update()).all()
        if not rows:
            return 0
        ended = Ended(RunState.CANCELLED, request.now_us)
        ends = Ends(request.after_run)
        for row in rows:
            ends.add(row.task_id, row.generation, ended)
        gates = (row.held_key or row.awaited_key for row in rows)
        ends.keys.update(key for key in gates if key is not None)
        self._write([row.id for row in rows])
        self._leave_queues([row for row in rows if row.queued_us is not None])
        let_go(session, connection, ends)
        return len(rows)

    def _lock(self, free: Sequence[Any]) -> None:
        session, connection = self._session, self._connection
        tasks = sorted({row.task_id for row in free if row.generation})
        if tasks:
            lock_tasks(session, connection, tasks)
        if any(row.key is not None for row in free):
            lock_gates(session, connection)

    def _write(self, ids: Sequence[str]) -> None:
        session, request = self._session, self._request
        runs = session.tables.runs
        self._connection.execute(
            update(runs)
            .where(runs.c.id.in_(named(session, "ids", ids)))
            .values(
                state=RunState.CANCELLED.value,
                reason=request.reason,
                finished_us=request.now_us,
                available_us=None,
                queued_us=None,
                **NO_KEY,
            )
        )

    def _leave_queues(self, queued: Sequence[Any]) -> None:
        tasks = self._session.tables.tasks
        for (task_id, generation), count in Counter(
            (row.task_id, row.generation) for row in queued
        ).items():
            its = (tasks.c.id == task_id, tasks.c.generation == generation)
            left = update(tasks).where(*its).values(queued=tasks.c.queued - count)
            self._connection.execute(left)


def asked(session: Session, node: str) -> list[str]:
    """Do a store's `asked`."""
    runs = session.tables.runs
    statement = session.once(
        "asked",
        lambda: select(runs.c.id).where(
            runs.c.node == bindparam("b_node"),
            runs.c.cancel_us.is_not(None),
            runs.c.state.not_in(_OVER),
        ),
    )
    with session.database.reading() as connection:
        return list(connection.execute(statement, {"b_node": node}).scalars())
