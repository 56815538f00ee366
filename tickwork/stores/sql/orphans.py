"""Runs that wait for a task which is gone, in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.steps import TASK_REMOVED
from tickwork.stores.sql.gates import Keys, open_gates
from tickwork.stores.sql.session import Session, named

__all__ = ["end_orphans"]

_OVER = sorted(state.value for state in TERMINAL)


def end_orphans(
    session: Session, connection: Connection, run_ids: Sequence[str] | None = None
) -> None:
    """Cancel runs (of these, or all) that wait for a task which is gone.

    Nobody could ever execute them.
    """
    runs = session.tables.runs
    mine = () if run_ids is None else (runs.c.id.in_(named(session, "ids", run_ids)),)
    ended = {
        "state": RunState.CANCELLED.value,
        "reason": TASK_REMOVED,
        "available_us": None,
        "finished_us": session.environment.now_us(),
    }
    if connection.execute(update(runs).where(*mine, *_orphaned(session)).values(ended)).rowcount:
        _take_keys(session, connection)


def _orphaned(session: Session) -> tuple[ColumnElement[bool], ...]:
    runs, tasks = session.tables.runs, session.tables.tasks
    its = (tasks.c.id == runs.c.task_id) & (tasks.c.generation == runs.c.generation)
    # Counted for each, by its key: what only asks whether there is one, PostgreSQL may answer by
    # reading all tasks.
    gone = select(func.count()).select_from(tasks).where(its).scalar_subquery() == 0
    return runs.c.available_us.is_not(None), runs.c.definition.is_(None), gone


def _take_keys(session: Session, connection: Connection) -> None:
    """Have runs that are over hold no key."""
    runs = session.tables.runs
    over: tuple[Any, ...] = (
        runs.c.held_key.is_not(None),
        runs.c.node.is_(None),
        runs.c.state.in_(_OVER),
    )
    keys = Keys(connection.execute(select(runs.c.held_key).where(*over)).scalars())
    if keys:
        connection.execute(update(runs).where(*over).values(held_key=None))
        open_gates(session, connection, keys)
