"""Documents in Redis: each step is one script, which compares the revision before it writes.

What a document says is written as it is, behind a line of what scripts compare; see `layout` and
`scripts/keeping.lua`.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tickwork.errors import UnreadableRecordError
from tickwork.model.keeping import Document, DocumentQuery, check_place
from tickwork.model.steps import PruneRequest
from tickwork.stores.redis.layout import from_word, id_entry, id_of, instant_of, instant_word, word
from tickwork.stores.redis.session import Session

__all__ = ["expire", "forget", "keep", "listed"]

logger = logging.getLogger("tickwork.stores.redis")

_FAR_US = 10**18
_PIECE = 500


def keep(session: Session, document: Document, expected: int | None) -> int | None:
    """Do a store's `keep`."""
    entry = _entry(document.kind, document.key)
    expires_us = document.expires_us
    expires = "" if expires_us is None else _word(expires_us)
    told = document.body, expires, _expectation(expected), _now(session)
    revision = _answer(session.server.change("keep", entry, *told), document.kind, document.key)
    return int(revision) if revision else None


def forget(session: Session, kind: str, key: str, expected: int | None) -> bool:
    """Do a store's `forget`."""
    check_place(kind, key)
    told = _expectation(expected), _now(session)
    return bool(_answer(session.server.change("drop", _entry(kind, key), *told), kind, key))


def _answer(answer: list[Any], kind: str, key: str) -> str:
    """Return the revision that a script tells, '' where it wasn't the expected one."""
    if answer[0] == b"odd":
        raise UnreadableRecordError(
            f"document {key!r} of the kind {kind!r} can't be changed, what is kept of it can't be "
            f"understood: {answer[1].decode(errors='replace')!r:.200}; use the version of tickwork "
            'that wrote it, or delete its field of the hash "documents"'
        )
    told: bytes = answer[0]
    return told.decode()


def listed(session: Session, query: DocumentQuery) -> list[Document]:
    """Do a store's `documents`."""
    return list(islice(_found(session, query), query.limit)) if query.limit else []


def _found(session: Session, query: DocumentQuery) -> Iterator[Document]:
    start, end = _bounds(query)
    direction = "down" if query.newest_first else "up"
    piece = min(query.limit, _PIECE)
    while True:
        bounds = start, end, str(piece)
        last, entries, texts = session.server.run("documents", *bounds, direction, _now(session))
        for entry, text in zip(entries, texts, strict=True):
            document = _document(entry.decode(), text.decode())
            if document is not None:
                yield document
        if not last:
            return
        # There are some that have expired, perhaps many.
        piece = _PIECE
        beyond = f"({last.decode()}"
        start, end = (start, beyond) if query.newest_first else (beyond, end)


def _bounds(query: DocumentQuery) -> tuple[str, str]:
    """Return between which entries those of a query lie."""
    start, end = f"[{word(query.kind)}\n", f"({word(query.kind)}\v"
    if query.after is not None:
        start = f"({_entry(query.kind, query.after)}"
    if query.before is not None:
        end = f"({_entry(query.kind, query.before)}"
    if query.key is None:
        return start, end
    one = _entry(query.kind, query.key)
    below = query.after is not None and query.key <= query.after
    above = query.before is not None and query.key >= query.before
    return (f"({one}" if below or above else f"[{one}"), f"[{one}"


def expire(session: Session, request: PruneRequest) -> None:
    """Forget documents that have expired."""
    session.server.run("expire", _word(request.now_us), _now(session), str(request.limit))


def _entry(kind: str, key: str) -> str:
    return f"{word(kind)}\n{id_entry(key)}"


def _expectation(expected: int | None) -> str:
    return "" if expected is None else str(expected)


def _now(session: Session) -> str:
    """Return the word of a test's time; otherwise scripts take the server's."""
    environment = session.environment
    return instant_word(environment.now_us()) if environment.simulated else ""


def _word(instant_us: int) -> str:
    return instant_word(max(-_FAR_US, min(instant_us, _FAR_US)))


def _document(entry: str, text: str) -> Document | None:
    """Return the document of a text, or None for one that can't be understood."""
    kind, _, key = entry.partition("\n")
    try:
        head, _, body = text.partition("\n")
        revision, changed, expires = head.split(" ")
        expires_us = instant_of(expires) if expires else None
        return Document(
            from_word(kind), id_of(key), body, int(revision), instant_of(changed), expires_us
        )
    except ValueError:
        logger.warning("a document can't be understood, its row is kept: %r", entry)
        return None
