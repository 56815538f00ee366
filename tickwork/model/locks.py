"""Locks as stores keep them: who has a name, until when, and from when on others may have it.

A lock is held until it is given back or its lease is over, by the store's clock. Besides, it may be
kept: it isn't given again for a *label* before `kept_us`. Labels are the fire times of the tasks
that ask for it, whichever process they belong to. So two executions that it lets happen lie at
least so far apart as was said, in fire times, however late either of them began; and a process that
is late can't execute a fire time again that another one has dealt with. Clocks that went wrong by
more than two such spans must not block the others, which is what `forgotten_us` is for.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = ["LockRecord", "LockRequest", "is_held_by", "may_have", "refused", "renewed", "taken"]


@dataclass(slots=True, kw_only=True)
class LockRecord:
    """A lock as it stands; instants are microseconds of the store's clock, `kept_us` a label.

    `owner` is unique to one acquisition, and empty once the lock was given back; `about` says for
    people who that is. `fence` is higher than that of any lease or lock before.
    """

    name: str
    owner: str = ""
    about: str = ""
    fence: int = 0
    acquired_us: int = 0
    expires_us: int = 0
    kept_us: int = 0
    forgotten_us: int = 0


class LockRequest(NamedTuple):
    """Somebody wants a lock for `lease_us`.

    With a `label_us`, the lock must not be kept beyond that label, and is kept from then on until
    `keep_us` later, or until the next label where that is 0. Without one, it doesn't matter what
    it is kept for, and that stays as it is.
    """

    name: str
    owner: str
    lease_us: int
    about: str = ""
    label_us: int | None = None
    keep_us: int = 0


def is_held_by(lock: LockRecord | None, owner: str, now_us: int) -> bool:
    """Whether an owner has a lock."""
    return lock is not None and lock.owner == owner and lock.expires_us > now_us


def may_have(lock: LockRecord | None, request: LockRequest, now_us: int) -> bool:
    """Whether a lock can be given to who asks for it; also to one who has it already."""
    if lock is None or is_held_by(lock, request.owner, now_us):
        return True
    if lock.expires_us > now_us:
        return False
    label_us = request.label_us
    return label_us is None or lock.kept_us <= label_us or lock.forgotten_us <= now_us


def refused(lock: LockRecord, now_us: int) -> LockRecord:
    """Return a lock as it is told to whom it isn't given: as nobody's, if its lease is over.

    Or one who had it, and asks again too late, would take it for theirs.
    """
    return lock if lock.expires_us > now_us else replace(lock, owner="")


def taken(lock: LockRecord | None, request: LockRequest, now_us: int, fence: int) -> LockRecord:
    """Return a lock as it stands when it was given to who asks for it."""
    expires_us = now_us + request.lease_us
    if lock is not None and is_held_by(lock, request.owner, now_us):
        return replace(lock, expires_us=expires_us)
    kept_us, forgotten_us = (0, 0) if lock is None else (lock.kept_us, lock.forgotten_us)
    if request.label_us is not None:
        kept_us = request.label_us + max(request.keep_us, 1)
        forgotten_us = now_us + max(2 * request.keep_us, request.lease_us)
    return LockRecord(
        name=request.name,
        owner=request.owner,
        about=request.about,
        fence=fence,
        acquired_us=now_us,
        expires_us=expires_us,
        kept_us=kept_us,
        forgotten_us=forgotten_us,
    )


def renewed(lock: LockRecord, lease_us: int, kept_us: int | None, now_us: int) -> LockRecord:
    """Return a lock that is held as it stands with another lease, or given back with none."""
    changed = replace(lock, expires_us=now_us + lease_us)
    if not lease_us:
        changed.owner, changed.expires_us = "", 0
    if kept_us is not None:
        changed.kept_us = kept_us
        if not kept_us:
            changed.forgotten_us = 0
    return changed
