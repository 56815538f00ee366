"""Documents in SQL.

What a document must be for it to be changed is said in the statement that changes it; of several
who add the same one, its key lets one through. A document that has expired is changed into a new
one, or removed, like any other: it only has the revision 0.
"""

from contextlib import suppress
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    insert,
    literal,
    not_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError
from tickwork.model.keeping import Document, DocumentQuery, check_place
from tickwork.model.steps import PruneRequest
from tickwork.stores.sql.session import Session, chunks

__all__ = ["forget", "keep", "listed", "prune"]

_COLUMNS = ("kind", "key", "body", "revision", "changed_us", "expires_us")
_TRIES = 3


def keep(session: Session, document: Document, expected: int | None) -> int | None:
    """Do a store's `keep`."""
    if expected:
        with session.database.writing() as connection:
            return expected + 1 if _change(session, connection, document, expected) else None
    for _ in range(_TRIES):
        # Somebody added it in this moment: now it is there to be looked at.
        with suppress(IntegrityError), session.database.writing() as connection:
            return _put(session, connection, document, expected)
    raise StoreUnavailableError(
        f"the document {document.key!r} is being added and forgotten; will try again"
    )


def _put(
    session: Session, connection: Connection, document: Document, expected: int | None
) -> int | None:
    """Write a document whatever it is, or if there is none.

    Raises:
        IntegrityError: it wasn't there, and somebody else added it meanwhile.
    """
    changed = _change(session, connection, document, expected)
    there = select(session.tables.documents.c.revision).where(
        _is_named(session, document.kind, document.key)
    )
    revision = connection.execute(there).scalar_one_or_none()
    if changed:
        return revision
    if revision is not None and expected == 0:
        return None
    new = {**_values(session, document), "revision": 1}
    connection.execute(insert(session.tables.documents).values(new))
    return 1


def _change(
    session: Session, connection: Connection, document: Document, expected: int | None
) -> bool:
    """Change a document that is there, if its revision is the expected one."""
    documents = session.tables.documents
    values = _values(session, document)
    del values["kind"], values["key"]
    # First: MySQL tells what comes later in a statement from what it has changed by then.
    revision = (documents.c.revision, _revision(session) + 1)
    changed = (
        update(documents)
        .where(_is_expected(session, document.kind, document.key, expected))
        .ordered_values(revision, *((documents.c[name], each) for name, each in values.items()))
    )
    return connection.execute(changed).rowcount == 1


def _values(session: Session, document: Document) -> dict[str, Any]:
    return {
        "kind": document.kind,
        "key": document.key,
        "body": document.body,
        "changed_us": session.clock,
        "expires_us": document.expires_us,
    }


def forget(session: Session, kind: str, key: str, expected: int | None) -> bool:
    """Do a store's `forget`."""
    check_place(kind, key)
    if expected == 0:
        return False
    there = and_(_is_expected(session, kind, key, expected), not_(_has_expired(session)))
    with session.database.writing() as connection:
        removed = connection.execute(delete(session.tables.documents).where(there))
        return removed.rowcount == 1


def listed(session: Session, query: DocumentQuery) -> list[Document]:
    """Do a store's `documents`."""
    documents = session.tables.documents
    key = documents.c.key
    conditions = [documents.c.kind == query.kind, not_(_has_expired(session))]
    if query.key is not None:
        conditions.append(key == query.key)
    if query.after is not None:
        conditions.append(key > query.after)
    if query.before is not None:
        conditions.append(key < query.before)
    page = select(*(documents.c[name] for name in _COLUMNS)).where(*conditions)
    page = page.order_by(key.desc() if query.newest_first else key).limit(query.limit)
    with session.database.reading() as connection:
        return [Document(*row) for row in connection.execute(page)]


def prune(session: Session, request: PruneRequest) -> None:
    """Forget documents that have expired; look without locks, as for all that is old."""
    documents = session.tables.documents
    expires = documents.c.expires_us
    first = select(documents.c.kind, documents.c.key).where(expires <= request.now_us)
    with session.database.reading() as connection:
        old = connection.execute(first.limit(request.limit)).all()
    if not old:
        return
    keys: dict[str, list[str]] = {}
    # In one order: two who delete the same rows never wait for each other.
    for kind, key in sorted(map(tuple, old)):
        keys.setdefault(kind, []).append(key)
    with session.database.writing() as connection:
        for kind, of_kind in keys.items():
            for some in chunks(of_kind):
                mine = and_(documents.c.kind == kind, documents.c.key.in_(some))
                connection.execute(delete(documents).where(mine, _has_expired(session)))


def _is_named(session: Session, kind: str, key: str) -> ColumnElement[bool]:
    documents = session.tables.documents
    return and_(documents.c.kind == kind, documents.c.key == key)


def _is_expected(
    session: Session, kind: str, key: str, expected: int | None
) -> ColumnElement[bool]:
    """Return the condition under which a row may be changed by who expects this revision."""
    mine = _is_named(session, kind, key)
    if expected is None:
        return mine
    if not expected:
        return and_(mine, _has_expired(session))
    is_it = session.tables.documents.c.revision == expected
    return and_(mine, is_it, not_(_has_expired(session)))


def _has_expired(session: Session) -> ColumnElement[bool]:
    expires = session.tables.documents.c.expires_us
    return and_(expires.is_not(None), expires <= session.clock)


def _revision(session: Session) -> ColumnElement[int]:
    """Return the revision of a row, as in `model.keeping.revision_of`."""
    return case((_has_expired(session), literal(0)), else_=session.tables.documents.c.revision)
