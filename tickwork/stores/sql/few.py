"""Leasing, in PostgreSQL, the few runs that a hint is about: all by one statement.

Whoever hears a hint goes for what waits without looking first. Where that is more than there are
places for, priorities decide; where there is anything else to decide, or to explain, that is for
`leasing`, too, which begins from the start.
"""

from dataclasses import replace

from sqlalchemy import Sequence, Update, bindparam, func, null, select, update

from tickwork.errors import UnreadableRecordError
from tickwork.model.records import Leased
from tickwork.model.steps import Eligibility, LeaseRequest
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
    codec = session.environment.codec
    leased = []
    try:
        with session.database.writing() as connection:
            found = connection.execute(statement, named).all()
            for row in sorted(found, key=lambda row: (row.rank, row.available_us, row.id)):
                definition = codec.decode(row.executed)
                run = run_of(row, codec)
                run.node, run.fence, run.available_us = request.node, row.its_fence, None
                run.attempt += 1
                leased.append(Leased(run, definition))
    except UnreadableRecordError:
        return []
    return leased


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
            definition.is_not(None),
        )
        .order_by(runs.c.available_us)
        .limit(bindparam("b_limit"))
        .with_for_update(of=runs, skip_locked=True)
        .cte("waiting")
    )
    count = select(func.count()).select_from(waiting).scalar_subquery()
    suspects = select(waiting.c.id).where(waiting.c.suspect).exists()
    # Looked at in this order: the node is locked, which writes, only where there is something.
    alive = session.living().scalar_subquery().is_not(None)
    may = count.between(1, bindparam("b_places")), ~suspects, alive
    return (
        update(runs)
        .where(runs.c.id == waiting.c.id, *may)
        .values(
            node=bindparam("b_node"),
            # For each run once it is locked: whoever had it before, had an earlier one.
            fence=Sequence(session.tables.fences).next_value(),
            attempt=runs.c.attempt + 1,
            available_us=null(),
        )
        .returning(*waiting.c, runs.c.fence.label("its_fence"))
    )
