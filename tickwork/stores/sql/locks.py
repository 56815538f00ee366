"""Locks in SQL.

A statement that changes a lock says under which conditions, so that it doesn't matter what else
happened since it was decided on; of several who add the same lock, its key lets one through. A
fence is drawn only when the row is ours until the transaction ends: drawn before, it could be lower
than that of somebody who had the lock meanwhile. No other row is locked, so who wants a lock waits
for nobody but those who are being given this one; and who asks in vain, as most do, only reads.
"""

from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError
from tickwork.model.locks import LockRecord, LockRequest, may_have, refused, taken
from tickwork.model.steps import PruneRequest
from tickwork.stores.sql.session import Session, chunks

__all__ = ["acquire", "listed", "prune", "renew"]

_COLUMNS = tuple(each.name for each in fields(LockRecord))
_TRIES = 3


def acquire(session: Session, request: LockRequest) -> LockRecord:
    """Do a store's `acquire_lock`."""
    others = _refused(session, request)
    if others is not None:
        return others
    for _ in range(_TRIES):
        # Somebody added it in this moment: now it is there to decide about.
        with suppress(IntegrityError), session.database.writing() as connection:
            return _give(session, connection, request)
    raise StoreUnavailableError(
        f"the lock {request.name!r} is being added and forgotten; will try again"
    )


def _refused(session: Session, request: LockRequest) -> LockRecord | None:
    """Return a lock that can't be given, as it is now."""
    asked = _named(session, request.name).add_columns(session.clock)
    with session.database.reading() as connection:
        row = connection.execute(asked).one_or_none()
    if row is None:
        return None
    lock = _lock_of(row)
    now_us = int(row[-1])
    return None if may_have(lock, request, now_us) else refused(lock, now_us)


def _give(session: Session, connection: Connection, request: LockRequest) -> LockRecord:
    """Give a lock to who asks for it if it can be given; return it as it is then.

    Raises:
        IntegrityError: it wasn't there, and somebody else added it meanwhile.
    """
    locks = session.tables.locks
    now_us = session.store_now_us(connection)
    mine = _is_held(session, request.name, request.owner, now_us)
    again = update(locks).where(mine).values(expires_us=now_us + request.lease_us)
    if not connection.execute(again).rowcount:
        new = asdict(taken(None, request, now_us, 0))
        if not _take(session, connection, request, new):
            there = connection.execute(_named(session, request.name)).one_or_none()
            if there is not None:
                return refused(_lock_of(there), now_us)
            connection.execute(insert(locks).values(new))
        fence = session.next_fence(connection)
        numbered = update(locks).where(_is_named(session, request.name)).values(fence=fence)
        connection.execute(numbered)
    return _lock_of(connection.execute(_named(session, request.name)).one())


def _take(
    session: Session, connection: Connection, request: LockRequest, new: dict[str, Any]
) -> bool:
    """Write a lock as it is when it was given, if it is there and free; return whether it was."""
    stays = {"name"} if request.label_us is not None else {"name", "kept_us", "forgotten_us"}
    changes = {name: value for name, value in new.items() if name not in stays}
    free = _is_free(session, request, new["acquired_us"])
    taking = update(session.tables.locks).where(free).values(changes)
    return connection.execute(taking).rowcount == 1


def renew(
    session: Session, name: str, owner: str, lease_us: int, *, kept_us: int | None = None
) -> bool:
    """Do a store's `renew_lock`."""
    values: dict[str, Any] = {}
    if kept_us is not None:
        values["kept_us"] = kept_us
        if not kept_us:
            values["forgotten_us"] = 0
    with session.database.writing() as connection:
        now = session.clock
        ends = {"expires_us": now + lease_us} if lease_us else {"owner": "", "expires_us": 0}
        mine = _is_held(session, name, owner, now)
        renewed = update(session.tables.locks).where(mine).values(values | ends)
        return connection.execute(renewed).rowcount == 1


def listed(session: Session) -> list[LockRecord]:
    """Do a store's `locks`."""
    locks, now = session.tables.locks, session.clock
    says_something = or_(locks.c.expires_us > now, locks.c.forgotten_us > now)
    with session.database.reading() as connection:
        rows = connection.execute(select(*_columns(session)).where(says_something)).all()
    return sorted(map(_lock_of, rows), key=lambda lock: lock.name)


def prune(session: Session, request: PruneRequest) -> None:
    """Forget locks that say nothing any more; look without locks, as for all that is old."""
    with session.database.reading() as connection:
        old = _old(session, connection, request)
    if not old:
        return
    locks = session.tables.locks
    with session.database.writing() as connection:
        # By the store's clock, too: who asks us to forget may be ahead of it.
        said = [
            column <= now
            for column in (locks.c.expires_us, locks.c.forgotten_us)
            for now in (request.now_us, session.clock)
        ]
        for some in chunks(old):
            connection.execute(delete(locks).where(locks.c.name.in_(some), *said))


def _old(session: Session, connection: Connection, request: PruneRequest) -> list[str]:
    """Return what can be forgotten, reading nothing else that is held or kept.

    What was never kept is found by when it was held; what was kept, by when that is forgotten.
    """
    locks = session.tables.locks
    until = locks.c.forgotten_us
    old: list[str] = []
    for which in (until == 0, until.between(1, request.now_us)):
        first = (
            select(locks.c.name)
            .where(which, locks.c.expires_us <= request.now_us)
            .order_by(until, locks.c.expires_us)
            .limit(request.limit - len(old))
        )
        old += connection.execute(first).scalars()
    # In one order: two who delete the same rows never wait for each other.
    return sorted(old)


def _is_named(session: Session, name: str) -> ColumnElement[bool]:
    return session.tables.locks.c.name == name


def _is_held(
    session: Session, name: str, owner: str, now: int | ColumnElement[int]
) -> ColumnElement[bool]:
    """Return the condition under which an owner has a lock, as in `model.locks.is_held_by`."""
    locks = session.tables.locks
    return and_(_is_named(session, name), locks.c.owner == owner, locks.c.expires_us > now)


def _is_free(session: Session, request: LockRequest, now_us: int) -> ColumnElement[bool]:
    """Return the condition under which somebody else may have a lock, as in `may_have` there."""
    locks = session.tables.locks
    fits: ColumnElement[bool] = true()
    if request.label_us is not None:
        fits = or_(locks.c.kept_us <= request.label_us, locks.c.forgotten_us <= now_us)
    return and_(_is_named(session, request.name), locks.c.expires_us <= now_us, fits)


def _named(session: Session, name: str) -> Select[Any]:
    return select(*_columns(session)).where(_is_named(session, name))


def _columns(session: Session) -> list[Any]:
    return [session.tables.locks.c[name] for name in _COLUMNS]


def _lock_of(row: Row[Any]) -> LockRecord:
    """Return the record of a lock's row, which begins with its columns."""
    return LockRecord(**dict(zip(_COLUMNS, row, strict=False)))
