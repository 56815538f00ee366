"""Locks in Redis: each step is one script, which compares who has a lock before it changes it.

What a lock says is written as words; see `layout` and `scripts/locking.lua`.
"""

from tickwork.errors import UnreadableRecordError
from tickwork.model.locks import LockRecord, LockRequest, taken
from tickwork.model.steps import PruneRequest
from tickwork.stores.redis.layout import from_word, instant_of, instant_word, word
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import Session

__all__ = ["acquire", "forget", "listed", "renew"]

_FAR_US = 10**18
"""Some 30,000 years: what is said to be later than that is as good as for ever."""


def acquire(session: Session, request: LockRequest) -> LockRecord:
    """Do a store's `acquire_lock`."""
    # Given at the instant 0, a lock has spans where otherwise instants stand.
    given = taken(None, request, 0, 0)
    label = ["", "", ""]
    if request.label_us is not None:
        label = [_word(request.label_us), _word(given.kept_us), _span(given.forgotten_us)]
    names = map(word, (request.name, request.owner, request.about))
    times = _now(session), _span(given.expires_us), *label
    [text] = session.server.change("acquire", *names, *times)
    lock = _lock(request.name, text.decode())
    if lock is None:
        raise UnreadableRecordError(
            f"lock {request.name!r} can't be had, what is kept of it can't be understood: "
            f"{text.decode()!r:.200}; use the version of tickwork that wrote it, or delete its "
            'field of the hash "locks" once nobody holds it'
        )
    return lock


def renew(session: Session, name: str, owner: str, lease_us: int, *, kept_us: int | None) -> bool:
    """Do a store's `renew_lock`."""
    lease = _span(lease_us) if lease_us else ""
    kept = "" if kept_us is None else _word(kept_us)
    [was_theirs] = session.server.run("renew", word(name), word(owner), _now(session), lease, kept)
    return bool(was_theirs)


def listed(session: Session) -> list[LockRecord]:
    """Do a store's `locks`."""
    lapses, joined = session.server.run("locks", _now(session))
    entries = split(lapses)
    texts = split(joined, len(entries))
    names = [from_word(entry.partition("\n")[2]) for entry in entries]
    found = [_lock(*each) or _odd(each[0]) for each in zip(names, texts, strict=True)]
    return sorted(found, key=lambda lock: lock.name)


def forget(session: Session, request: PruneRequest) -> None:
    """Forget locks that say nothing any more."""
    session.server.run("forget", _word(request.now_us), _now(session), str(request.limit))


def _now(session: Session) -> str:
    """Return the word of a test's time; otherwise scripts take the server's."""
    environment = session.environment
    return instant_word(environment.now_us()) if environment.simulated else ""


def _word(instant_us: int) -> str:
    return instant_word(min(instant_us, _FAR_US))


def _span(span_us: int) -> str:
    """Return a span with as many digits as the word of an instant."""
    return f"{min(max(span_us, 0), _FAR_US):019}"


def _lock(name: str, text: str) -> LockRecord | None:
    """Return the lock of a text, or None for one that can't be understood."""
    try:
        # What a later version may write in further lines is its own business.
        head, owner, about = text.split("\n")[:3]
        *instants, fence = head.split(" ")
        acquired_us, expires_us, kept_us, forgotten_us = map(instant_of, instants)
        return LockRecord(
            name=name,
            owner=from_word(owner),
            about=from_word(about),
            fence=int(fence),
            acquired_us=acquired_us,
            expires_us=expires_us,
            kept_us=kept_us,
            forgotten_us=forgotten_us,
        )
    except ValueError:
        return None


def _odd(name: str) -> LockRecord:
    """Return what is to be shown of a lock that can't be understood."""
    return LockRecord(name=name, about="what is kept of it can't be understood; its row is kept")
