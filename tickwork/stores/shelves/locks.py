"""Locks that are held in memory."""

from dataclasses import replace

from tickwork.model.locks import (
    LockRecord,
    LockRequest,
    is_held_by,
    may_have,
    refused,
    renewed,
    taken,
)
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["acquire", "listed", "prune", "renew"]


def acquire(shelves: Shelves, request: LockRequest, now_us: int) -> LockRecord:
    """Do a store's `acquire_lock`."""
    lock = shelves.locks.get(request.name)
    if lock is None or may_have(lock, request, now_us):
        fresh = not is_held_by(lock, request.owner, now_us)
        lock = taken(lock, request, now_us, shelves.next_fence() if fresh else 0)
        shelves.locks[request.name] = lock
        return replace(lock)
    return replace(refused(lock, now_us))


def renew(
    shelves: Shelves, name: str, owner: str, lease_us: int, *, kept_us: int | None, now_us: int
) -> bool:
    """Do a store's `renew_lock`."""
    lock = shelves.locks.get(name)
    if lock is None or not is_held_by(lock, owner, now_us):
        return False
    shelves.locks[name] = renewed(lock, lease_us, kept_us, now_us)
    return True


def listed(shelves: Shelves, now_us: int) -> list[LockRecord]:
    """Do a store's `locks`."""
    said = [lock for lock in shelves.locks.values() if not _says_nothing(lock, now_us)]
    return [replace(lock) for lock in sorted(said, key=lambda lock: lock.name)]


def prune(shelves: Shelves, now_us: int) -> list[str]:
    """Forget locks that say nothing any more; return their names."""
    gone = [name for name, lock in shelves.locks.items() if _says_nothing(lock, now_us)]
    for name in gone:
        del shelves.locks[name]
    return gone


def _says_nothing(lock: LockRecord, now_us: int) -> bool:
    return lock.expires_us <= now_us and lock.forgotten_us <= now_us
