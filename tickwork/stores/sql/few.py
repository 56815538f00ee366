"""Leasing, in PostgreSQL, the few runs that a hint is about: all by one statement.

Whoever hears a hint goes for what waits without looking first. Where that is more than there are
places for, priorities decide; where there is anything else to decide, or to explain, that is for
`leasing`, too, which begins from the start.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Sequence, Update, bindparam, case, func, null, select, update

from tickwork.errors import UnreadableRecordError
from tickwork.model.records import Leased
from tickwork.model.steps import Eligibility, LeaseRequest
from tickwork.stores.sql.many import New
from tickwork.stores.sql.rows import run_of
from tickwork.stores.sql.session import Session, leasable

__all__ = ["lease_few"]

_MOST = 10
"""How many runs are leased like this at most."""


def lease_few(session: Session, request: LeaseRequest) -> list[Leased]:
    """Lease all that waits, if it is little and plain, and each has a place; otherwise nothing."""
    left = {name: places for name, places in request.capacity.items() if places > 0}
    if not left or request.only is not None:
        return []
    eligibility = replace(request.eligibility, executors=request.eligibility.executors & set(left))
    places = min(_MOST, *left.values())
    statement = session.latest("few", eligibility, lambda: _statement(session, eligibility))
    named = {
        "b_node": request.node,
        "b_now_us": request.now_us,
        "b_places": places,
        "b_limit": places + 1,
    }
    # Not to be read, but without a way to the server to begin, and one to commit.
    with session.database.reading() as connection:
        found = connection.execute(statement, named).all()
    found = sorted(found, key=lambda row: (row.rank, row.available_us, row.id))
    try:
        return [_leased(session, request.node, row) for row in found]
    except UnreadableRecordError:
        # Who dies here has a lease that lapses.
        _undo(session, found)
        return []


def _leased(session: Session, node: str, row: Row[Any]) -> Leased:
    codec = session.environment.codec
    definition = codec.decode(row.executed)
    run = run_of(row, codec)
    run.node, run.fence, run.available_us = node, row.its_fence, None
    run.attempt += 1
    return Leased(run, definition)


def _undo(session: Session, found: Iterable[Row[Any]]) -> None:
    """Have runs wait as they did before they were leased."""
    runs = session.tables.runs

    def make(new: New) -> Update:
        return (
            update(runs)
            .where(runs.c.id == new["its_id"], runs.c.fence == new["its_fence"])
            .values(node=null(), attempt=new["attempt"], available_us=new["available_us"])
        )

    rows = [(row.id, row.its_fence, row.attempt, row.available_us) for row in found]
    with session.database.writing() as connection:
        keys = ("its_id", "its_fence", "attempt", "available_us")
        session.update(connection, keys, make, rows)


def _statement(session: Session, eligibility: Eligibility) -> Update:
    """Return what locks the runs that wait, and leases these where they are few and plain."""
    runs = session.tables.runs
    definition = session.definition_of_run()
    waiting = (
        select(*session.run, definition.label("executed"))
        .where(
            runs.c.available_us <= bindparam("b_now_us"),
            runs.c.node.is_(None),
            leasable(session, eligibility),
        )
        .order_by(runs.c.available_us)
        .limit(bindparam("b_limit"))
        .with_for_update(of=runs, skip_locked=True)
        .cte("waiting")
    )
    plain = case((func.bool_or(waiting.c.suspect), 0), else_=func.count())
    few = select(plain).select_from(waiting).scalar_subquery().between(1, bindparam("b_places"))
    # Looked at after that: to lock the node, which writes, is for nothing where nothing waits.
    alive = session.living().scalar_subquery().is_not(None)
    return (
        update(runs)
        .where(runs.c.id == waiting.c.id, waiting.c.executed.is_not(None), few, alive)
        .values(
            node=bindparam("b_node"),
            # For each run once it is locked: whoever had it before, had an earlier one.
            fence=Sequence(session.tables.fences).next_value(),
            attempt=runs.c.attempt + 1,
            available_us=null(),
        )
        .returning(*waiting.c, runs.c.fence.label("its_fence"))
    )
