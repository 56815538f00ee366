"""Gates in SQL: which of the runs that share a key hold it.

Whoever adds a run that waits for a key, or ends one that waits for it or holds it, opens the gate
of that key in the same transaction. All who do so take one lock first: what one of them counts
stays true until it commits. Locks are taken in one order, so that two never wait for each other:
leased runs, tasks, this one, runs that nobody has leased.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from tickwork.stores.sql.session import Session, chunks, named

__all__ = ["NO_KEY", "Keys", "lock_gates", "open_gates"]

Keys = Counter[str]
"""How many runs have come to the gate of a key or left it, or held the key until now, by key."""

NO_KEY: Mapping[str, None] = {"held_key": None, "awaited_key": None, "gated_us": None}
"""The columns of a run that neither holds a key nor waits for it."""

_FEW, _MOST = 4, 200


def lock_gates(session: Session, connection: Connection) -> None:
    """Have all others wait who would decide about keys, until the transaction ends."""
    counters = session.tables.counters
    lock = session.once(
        "gate",
        lambda: select(counters.c.value).where(counters.c.name == "gate").with_for_update(),
    )
    connection.execute(lock).scalar_one()


def open_gates(session: Session, connection: Connection, keys: Keys) -> frozenset[str]:
    """Give keys to those that wait for them, and return who got one."""
    if not keys:
        return frozenset()
    lock_gates(session, connection)
    through: list[str] = []
    for key, count in _awaited(session, connection, keys).items():
        through += _open(session, connection, key, min(count + 1, _MOST))
    if through:
        session.database.hint(connection)
    return frozenset(through)


def _awaited(session: Session, connection: Connection, keys: Keys) -> Mapping[str, int]:
    """Return the keys that somebody may wait for."""
    if len(keys) <= _FEW:
        return keys
    awaited = session.tables.runs.c.awaited_key
    among = awaited.in_(named(session, "keys", keys))
    found = connection.execute(select(awaited).where(among).distinct()).scalars()
    return {key: keys[key] for key in found}


def _open(session: Session, connection: Connection, key: str, limit: int) -> list[str]:
    """Let those through that a gate has room for; look at `limit` of them at a time."""
    through: list[str] = []
    while True:
        waiting = _first(session, connection, key, limit)
        if not waiting:
            return through
        free = _fitting(waiting, _count(session, connection, key))
        _let_through(session, connection, free)
        through += free
        if len(free) < limit:
            return through


def _fitting(waiting: Sequence[Any], holders: int) -> list[str]:
    """Return the first who find room; nobody overtakes one who finds none."""
    free: list[str] = []
    for row in waiting:
        if holders + len(free) >= row.key_limit:
            break
        free.append(row.id)
    return free


def _first(session: Session, connection: Connection, key: str, limit: int) -> Sequence[Any]:
    runs = session.tables.runs
    first = session.once(
        "waiting for a key",
        lambda: (
            select(runs.c.id, runs.c.key_limit)
            .where(runs.c.awaited_key == bindparam("b_key"))
            .order_by(runs.c.rank, runs.c.gated_us, runs.c.id)
            .limit(bindparam("b_limit"))
        ),
    )
    return connection.execute(first, {"b_key": key, "b_limit": limit}).all()


def _count(session: Session, connection: Connection, key: str) -> int:
    held = session.tables.runs.c.held_key
    counted = session.once(
        "holding a key", lambda: select(func.count()).where(held == bindparam("b_key"))
    )
    return int(connection.execute(counted, {"b_key": key}).scalar_one())


def _let_through(session: Session, connection: Connection, ids: Sequence[str]) -> None:
    runs = session.tables.runs
    for some in chunks(ids):
        connection.execute(
            update(runs)
            .where(runs.c.id.in_(some))
            # One after the other: MySQL goes by what it has changed already.
            .ordered_values(
                (runs.c.held_key, runs.c.awaited_key),
                (runs.c.awaited_key, None),
                (runs.c.available_us, runs.c.gated_us),
                (runs.c.gated_us, None),
            )
        )
