"""Nodes, their leases, and what dead ones leave behind, in SQL.

A run's lease lasts as long as its node's: one row is renewed for all of them. A node is dead once
somebody has written so (`expires_us` of 0); from then on it can't renew, whatever its clock says.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, RunRecord, copied
from tickwork.model.steps import TASK_REMOVED, Beat, RecoverReply, RecoverRequest
from tickwork.stores.sql.finishing import let_go
from tickwork.stores.sql.rows import node_row, run_of
from tickwork.stores.sql.session import Session

__all__ = ["beat", "recover"]


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
        more = False
        for node_id in dead:
            connection.execute(update(nodes).where(nodes.c.id == node_id).values(expires_us=0))
            room = request.limit - len(recovered)
            # One more than there is room for is only looked at, to know whether it is there.
            runs = _leased_to(session, connection, node_id, room + 1)
            recovered += _take_over(session, connection, runs[:room], request)
            if len(runs) > room:
                more = True
            else:
                connection.execute(delete(nodes).where(nodes.c.id == node_id))
        if request.held is not None:
            recovered += _give_back_strays(session, connection, request)
        if recovered:
            session.database.hint(connection)
        return RecoverReply(recovered, dead, more)


def _leased_to(
    session: Session, connection: Connection, node_id: str, limit: int | None = None
) -> list[Row[Any]]:
    """Return the runs of a node, with the definitions of those whose task is there."""
    runs = session.tables.runs
    found = (
        select(runs, session.definition_of_run().label("definition"))
        .where(runs.c.node == node_id)
        .order_by(runs.c.id)
        .limit(limit)
        .with_for_update()
    )
    return list(connection.execute(found).all())


def _take_over(
    session: Session, connection: Connection, rows: list[Row[Any]], request: RecoverRequest
) -> list[RunRecord]:
    recovered = []
    over: Counter[tuple[str, int]] = Counter()
    for row in rows:
        run = run_of(row)
        text = row.definition
        definition = None if text is None else session.environment.codec.read(text)
        verdict = request.decide(copied(run), definition)
        run.state, run.crashes = verdict.state, verdict.crashes
        run.suspect, run.reason, run.node = verdict.suspect, verdict.reason, None
        if verdict.state is RunState.PENDING:
            _offer_again(run, request, orphaned=text is None)
        else:
            run.finished_us = request.now_us
            over[run.task_id, run.generation] += 1
        _write(session, connection, run)
        recovered.append(run)
    follows = dict.fromkeys(over, request.now_us)
    let_go(session, connection, over, follows, request.after_run)
    return recovered


def _offer_again(run: RunRecord, request: RecoverRequest, *, orphaned: bool) -> None:
    """Make a run pending again; one whose task is gone meanwhile is over."""
    if orphaned:
        run.state, run.reason = RunState.CANCELLED, TASK_REMOVED
        run.finished_us = request.now_us
    else:
        run.state = RunState.PENDING
        run.available_us = request.now_us if run.due_us is None else run.due_us


def _write(session: Session, connection: Connection, run: RunRecord) -> None:
    runs = session.tables.runs
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
        )
    )


def _give_back_strays(
    session: Session, connection: Connection, request: RecoverRequest
) -> list[RunRecord]:
    strays = []
    for row in _leased_to(session, connection, request.node):
        if row.id in (request.held or ()):
            continue
        run = run_of(row)
        run.node, run.started_us = None, None
        run.attempt -= 1
        _offer_again(run, request, orphaned=row.definition is None)
        _write(session, connection, run)
        strays.append(run)
    return strays
