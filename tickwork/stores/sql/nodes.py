"""Nodes, their leases, and what dead ones leave behind, in SQL.

A run's lease lasts as long as its node's: one row is renewed for all of them. A node is dead once
somebody has written so (`expires_us` of 0); from then on it can't renew, whatever its clock says.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import NodeRecord, RunRecord, copied
from tickwork.model.steps import (
    TASK_REMOVED,
    Beat,
    Ended,
    RecoverReply,
    RecoverRequest,
    Verdict,
)
from tickwork.stores.sql.following import Ends, let_go
from tickwork.stores.sql.gates import Keys
from tickwork.stores.sql.rows import node_row, run_of
from tickwork.stores.sql.session import Session

__all__ = ["beat", "recover"]

_OVER = frozenset(state.value for state in TERMINAL)


def beat(session: Session, node: NodeRecord, lease_us: int, *, leaving: bool) -> Beat:
    """Do a store's `beat`."""
    nodes, runs = session.tables.nodes, session.tables.runs
    with session.database.writing() as connection:
        now_us = session.store_now_us(connection)
        mine = nodes.c.id == node.id
        if leaving:
            known = connection.execute(select(nodes.c.expires_us).where(mine)).scalar()
            alive = known is not None and known != 0
            held = select(func.count()).select_from(runs).where(runs.c.node == node.id)
            if not connection.execute(held).scalar_one():
                connection.execute(delete(nodes).where(mine))
            return Beat(alive=alive, now_us=now_us)
        row = node_row(replace(node, beat_us=now_us, expires_us=now_us + lease_us))
        if node.beat_us:
            renewed = update(nodes).where(mine, nodes.c.expires_us != 0).values(row)
            alive = connection.execute(renewed).rowcount == 1
        else:
            connection.execute(delete(nodes).where(mine))
            connection.execute(insert(nodes), [row])
            alive = True
        return Beat(alive=alive, now_us=now_us)


def recover(session: Session, request: RecoverRequest) -> RecoverReply:
    """Do a store's `recover`."""
    nodes = session.tables.nodes
    over = (nodes.c.id != request.node, nodes.c.expires_us <= session.clock)
    looking = select(nodes.c.id).where(*over)
    with session.database.reading() as connection:
        candidates = connection.execute(looking.limit(1)).scalar()
    if candidates is None and request.held is None:
        return RecoverReply()
    with session.database.writing() as connection:
        recovered: list[RunRecord] = []
        dead = list(connection.execute(looking.with_for_update(skip_locked=True)).scalars())
        ends = Ends(request.after_run)
        more = False
        for node_id in dead:
            connection.execute(update(nodes).where(nodes.c.id == node_id).values(expires_us=0))
            room = request.limit - len(recovered)
            # One more than there is room for is only looked at, to know whether it is there.
            runs = _leased_to(session, connection, node_id, room + 1)
            recovered += _take_over(session, connection, runs[:room], request, ends)
            if len(runs) > room:
                more = True
            else:
                connection.execute(delete(nodes).where(nodes.c.id == node_id))
        let_go(session, connection, ends)
        if request.held is not None:
            recovered += _give_back_strays(session, connection, request)
        if recovered:
            session.database.hint(connection)
        return RecoverReply(recovered, dead, more)


def _leased_to(
    session: Session, connection: Connection, node_id: str, limit: int | None = None
) -> list[Row[Any]]:
    """Return the runs of a node, with the definitions of those that have one, or whose task has."""
    runs = session.tables.runs
    found = (
        select(*session.run, session.definition_of_run().label("executed"))
        .where(runs.c.node == node_id)
        .order_by(runs.c.id)
        .limit(limit)
        .with_for_update()
    )
    return [*connection.execute(found)]


def _take_over(  # noqa: PLR0917  a part of `recover`, in its transaction
    session: Session,
    connection: Connection,
    rows: list[Row[Any]],
    request: RecoverRequest,
    ends: Ends,
) -> list[RunRecord]:
    recovered = []
    codec = session.environment.codec
    for row in rows:
        run = run_of(row, codec)
        if row.state in _OVER:
            _end_lingering(session, connection, run, ends)
        else:
            definition = None if row.executed is None else codec.read(row.executed)
            verdict = request.decide(copied(run), definition)
            _apply(run, verdict, request.now_us, orphaned=row.executed is None)
            if verdict.state is not RunState.PENDING:
                ends.add(run.task_id, run.generation, Ended(run.state, request.now_us))
            _write(session, connection, run, ends.keys)
        recovered.append(run)
    return recovered


def _apply(run: RunRecord, verdict: Verdict, now_us: int, *, orphaned: bool) -> None:
    run.state, run.crashes = verdict.state, verdict.crashes
    run.suspect, run.reason, run.node = verdict.suspect, verdict.reason, None
    if verdict.state is RunState.PENDING:
        _offer_again(run, now_us, orphaned=orphaned)
    else:
        run.finished_us = now_us


def _end_lingering(
    session: Session, connection: Connection, run: RunRecord, ends: Ends, *, follows: bool = True
) -> None:
    """Count a run as over now that was over before; what is written of it stays."""
    runs = session.tables.runs
    mine = runs.c.id == run.id
    connection.execute(update(runs).where(mine).values(node=None, held_key=None))
    ended = Ended(run.state, run.finished_us or 0) if follows else None
    ends.add(run.task_id, run.generation, ended)
    _let_go_of_key(run, ends.keys)
    run.node = None


def _let_go_of_key(run: RunRecord, keys: Keys) -> None:
    if run.holds_key and run.key is not None:
        keys[run.key] += 1
        run.holds_key = False


def _offer_again(run: RunRecord, now_us: int, *, orphaned: bool) -> None:
    """Make a run pending again; one whose task is gone meanwhile is over."""
    if orphaned:
        run.state, run.reason = RunState.CANCELLED, TASK_REMOVED
        run.finished_us = now_us
    else:
        run.state = RunState.PENDING
        run.available_us = now_us if run.due_us is None else run.due_us


def _write(session: Session, connection: Connection, run: RunRecord, keys: Keys) -> None:
    """Write what became of a run; if it is over, add the key that it held to `keys`."""
    runs = session.tables.runs
    if run.state in TERMINAL:
        _let_go_of_key(run, keys)
    connection.execute(
        update(runs)
        .where(runs.c.id == run.id)
        .values(
            state=run.state.value,
            crashes=run.crashes,
            suspect=run.suspect,
            reason=run.reason,
            node=None,
            attempt=run.attempt,
            available_us=run.available_us,
            started_us=run.started_us,
            finished_us=run.finished_us,
            held_key=run.key if run.holds_key else None,
        )
    )


def _give_back_strays(
    session: Session, connection: Connection, request: RecoverRequest
) -> list[RunRecord]:
    strays = []
    ends = Ends(request.after_run)
    for row in _leased_to(session, connection, request.node):
        if row.id in (request.held or ()):
            continue
        run = run_of(row, session.environment.codec)
        if row.state in _OVER:
            _end_lingering(session, connection, run, ends, follows=False)
        else:
            run.node, run.started_us = None, None
            run.attempt -= 1
            _offer_again(run, request.now_us, orphaned=row.executed is None)
            _write(session, connection, run, ends.keys)
        strays.append(run)
    let_go(session, connection, ends)
    return strays
