"""Locks: a document each, changed by compare-and-set only.

A step reads the lock, decides by the rules of `tickwork.model.locks`, and changes the document if
it is still what was read, which the token of its last change tells (`by`): no two changes have the
same one. Who comes second reads anew, and decides anew. So a command that arrives late, when its
sender has given up waiting for the answer and has perhaps asked again, changes nothing any more.

A name without a document gets one that nobody owns first. Of those who add it at the same time one
succeeds, since ids are unique; then it is wanted like any other.

A fence is taken from the counter between reading and changing. It is higher than those of all who
had the lock before it was read; and if somebody has had it since, the document is another one, or
gone. That is why it is never added together with a fence: in between, others may have had the lock,
with a higher one, and their document may have been forgotten again.

`until_us` says from when on a lock says nothing any more: both what is listed and what is forgotten
is found by it.
"""

from dataclasses import asdict, fields

from tickwork.model.locks import (
    LockRecord,
    LockRequest,
    is_held_by,
    may_have,
    refused,
    renewed,
    taken,
)
from tickwork.model.steps import PruneRequest
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.session import Session, new_token

__all__ = ["acquire", "listed", "prune", "renew"]

_FIELDS = tuple(each.name for each in fields(LockRecord) if each.name != "name")


def acquire(session: Session, request: LockRequest) -> LockRecord:
    """Do a store's `acquire_lock`."""
    lock = None
    while lock is None:
        lock = _asked_for(session, request)
    return lock


def _asked_for(session: Session, request: LockRequest) -> LockRecord | None:
    """Give a lock to who asks for it if it may be; None where it has changed meanwhile."""
    document = _found_or_added(session, request.name)
    if document is None:
        return None
    lock, now_us = _lock_of(document), session.server_us()
    if not may_have(lock, request, now_us):
        return refused(lock, now_us)
    fence = 0 if is_held_by(lock, request.owner, now_us) else session.next_fence()
    given = taken(lock, request, now_us, fence)
    return given if _is_changed(session, document, given) else None


def _found_or_added(session: Session, name: str) -> Document | None:
    found = session.locks.first({"_id": name})
    if found is not None:
        return found
    new = _document(LockRecord(name=name))
    return None if session.locks.add([new]) else new


def renew(session: Session, name: str, owner: str, lease_us: int, *, kept_us: int | None) -> bool:
    """Do a store's `renew_lock`."""
    while True:
        document = session.locks.first({"_id": name})
        if document is None:
            return False
        lock, now_us = _lock_of(document), session.server_us()
        if not is_held_by(lock, owner, now_us):
            return False
        if _is_changed(session, document, renewed(lock, lease_us, kept_us, now_us)):
            return True


def listed(session: Session) -> list[LockRecord]:
    """Do a store's `locks`."""
    found = session.locks.find({"until_us": {"$gt": session.server_us()}})
    return sorted(map(_lock_of, found), key=lambda lock: lock.name)


def prune(session: Session, request: PruneRequest) -> None:
    """Forget locks that say nothing any more."""
    over = {"until_us": {"$lte": request.now_us}}
    found = session.locks.find(over, ["_id"], order=[("until_us", 1)], limit=request.limit)
    for some in chunks([lock["_id"] for lock in found]):
        session.locks.remove({"_id": {"$in": some}, **over})


def _is_changed(session: Session, document: Document, lock: LockRecord) -> bool:
    """Change a lock if it is still what was read; return whether it was."""
    unchanged = {"_id": document["_id"], "by": document["by"]}
    after = _document(lock)
    del after["_id"]
    return session.locks.change_one(unchanged, {"$set": after})


def _document(lock: LockRecord) -> Document:
    document = {"_id": lock.name, **asdict(lock)}
    del document["name"]
    return {**document, "until_us": max(lock.expires_us, lock.forgotten_us), "by": new_token()}


def _lock_of(document: Document) -> LockRecord:
    return LockRecord(name=document["_id"], **{name: document[name] for name in _FIELDS})
