"""Documents in MongoDB: one each, changed by commands that compare the revision as they write.

Its id is made of kind and key such that those of one kind stand together, in the order of their
keys. One that never expires has no `expires_us`. To write whatever is there means to look first,
and to expect that: so each writer has a revision of its own.
"""

from typing import Any

from tickwork.model.keeping import Document as Kept
from tickwork.model.keeping import DocumentQuery, check_place, revision_of
from tickwork.model.steps import PruneRequest
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.session import Session
from tickwork.stores.mongo.shapes import changed

__all__ = ["forget", "keep", "listed", "prune"]


def keep(session: Session, document: Kept, expected: int | None) -> int | None:
    """Do a store's `keep`."""
    now_us = session.server_us()
    if expected is not None:
        return _kept(session, document, expected, now_us)
    while True:
        found = session.documents.first({"_id": _id(document.kind, document.key)})
        revision = revision_of(_document(found) if found else None, now_us)
        kept = _kept(session, document, revision, now_us)
        if kept is not None:
            return kept
        now_us = session.server_us()


def _kept(session: Session, document: Kept, expected: int, now_us: int) -> int | None:
    """Write a document that has the expected revision; return the new one."""
    values: dict[str, Any] = {
        "kind": document.kind,
        "key": document.key,
        "body": document.body,
        "revision": expected + 1,
        "changed_us": now_us,
        "expires_us": document.expires_us,
    }
    named = {"_id": _id(document.kind, document.key)}
    there = {"revision": expected, **_there(now_us)} if expected else _expired(now_us)
    if session.documents.change_one({**named, **there}, changed(values)):
        return expected + 1
    if expected:
        return None
    new = {name: value for name, value in values.items() if value is not None}
    return None if session.documents.add([{**named, **new}]) else 1


def forget(session: Session, kind: str, key: str, expected: int | None) -> bool:
    """Do a store's `forget`."""
    check_place(kind, key)
    wanted = {"_id": _id(kind, key), **_there(session.server_us())}
    if expected is not None:
        wanted["revision"] = expected
    return session.documents.remove(wanted) == 1


def listed(session: Session, query: DocumentQuery) -> list[Kept]:
    """Do a store's `documents`."""
    if not query.limit:
        return []
    wanted = {"_id": _between(query), **_there(session.server_us())}
    order = [("_id", -1 if query.newest_first else 1)]
    found = session.documents.find(wanted, order=order, limit=query.limit)
    return list(map(_document, found))


def _between(query: DocumentQuery) -> Document:
    """Return the condition of the ids of a query."""
    after, before = query.after, query.before
    bounds: Document = {"$gte": _id(query.kind, "")}
    if after is not None:
        bounds = {"$gt": _id(query.kind, after)}
    bounds["$lt"] = f"{_id(query.kind, '')[:-1]};" if before is None else _id(query.kind, before)
    if query.key is not None:
        bounds["$eq"] = _id(query.kind, query.key)
    return bounds


def prune(session: Session, request: PruneRequest) -> None:
    """Forget documents that have expired; by the store's clock, too."""
    expired = _expired(min(request.now_us, session.server_us()))
    order = [("expires_us", 1)]
    found = session.documents.find(expired, ["_id"], order=order, limit=request.limit)
    for some in chunks([document["_id"] for document in found]):
        session.documents.remove({"_id": {"$in": some}, **expired})


def _id(kind: str, key: str) -> str:
    """Return the id of a document: no two have the same one, whatever is in their names."""
    return f"{len(kind)}:{kind}:{key}"


def _there(now_us: int) -> Document:
    return {"$or": [{"expires_us": {"$exists": False}}, {"expires_us": {"$gt": now_us}}]}


def _expired(now_us: int) -> Document:
    return {"expires_us": {"$lte": now_us}}


def _document(found: Document) -> Kept:
    return Kept(
        found["kind"],
        found["key"],
        found["body"],
        found["revision"],
        found["changed_us"],
        found.get("expires_us"),
    )
