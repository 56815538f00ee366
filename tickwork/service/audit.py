"""Who did what, from where, and what became of it.

An entry is written before something is done and completed afterwards. So nothing that was done is
without one; an entry that stays `asked` is of something whose end nobody saw.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from tickwork.errors import InvalidInputError, TickworkError
from tickwork.interfaces import Keeping
from tickwork.model.instants import SECOND, from_us
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.service.actors import Actor, Via
from tickwork.service.cursors import make_cursor, read_cursor
from tickwork.service.models import Answer, Page
from tickwork.service.roles import Action, Role

__all__ = ["AuditEntry", "AuditLog", "Outcome"]

logger = logging.getLogger("tickwork.audit")

_KIND = "audit"
_DAY_US = 86_400 * SECOND
_LOOKED_AT = 5_000
_LONGEST_TARGET = 500


class Outcome(StrEnum):
    """What became of it."""

    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    THROTTLED = "throttled"


class AuditEntry(Answer):
    """Something that somebody did, or wanted to do.

    `role` is None of who wasn't known, which happens where people log in. `before` and `after` are
    what it changed, as far as that can be said; `error` is why it failed.
    """

    id: str
    at: datetime
    actor: str
    role: Role | None
    via: Via
    address: str
    action: Action
    target: str
    outcome: Outcome
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    error: str | None = None


class AuditLog:
    """The entries of a store; they are kept for so many days."""

    def __init__(
        self,
        keeping: Keeping,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        days: int = 400,
    ) -> None:
        self._keeping = keeping
        self._now_us = now_us
        self._new_id = new_id
        self._days = days

    def ask(
        self,
        actor: Actor,
        action: Action,
        target: str,
        before: Mapping[str, Any] | None = None,
        *,
        outcome: Outcome = Outcome.ASKED,
    ) -> AuditEntry:
        """Write that somebody is about to do something."""
        now_us = self._now_us()
        entry = AuditEntry(
            id=self._new_id(),
            at=from_us(now_us),
            actor=actor.name,
            role=actor.role if actor.known else None,
            via=actor.via,
            address=actor.address,
            action=action,
            target=target[:_LONGEST_TARGET],
            outcome=outcome,
            before=None if before is None else dict(before),
        )
        self._write(entry)
        return entry

    def complete(
        self,
        entry: AuditEntry,
        outcome: Outcome,
        *,
        after: Mapping[str, Any] | None = None,
        error: BaseException | None = None,
        actor: Actor | None = None,
    ) -> None:
        """Write what became of something that was asked for, and by whom if that came out.

        It has happened already: a store that fails now leaves the entry as it is.
        """
        changes = {
            "outcome": outcome,
            "after": None if after is None else dict(after),
            "error": None if error is None else f"{type(error).__name__}: {error}"[:1_000],
        }
        if actor is not None:
            changes |= {"actor": actor.name, "role": actor.role}
        try:
            self._write(entry.model_copy(update=changes))
        except TickworkError as failure:
            logger.warning("the end of audit entry %s was not written: %s", entry.id, failure)

    def _write(self, entry: AuditEntry) -> None:
        body = entry.model_dump_json()
        # What JSON can say and a store can't keep, is said without it.
        body = body.replace("\\u0000", "").replace("\0", "")
        expires_us = self._now_us() + self._days * _DAY_US
        self._keeping.keep(Document(_KIND, entry.id, body, expires_us=expires_us))

    def entries(
        self,
        *,
        actor: str | None = None,
        action: Action | None = None,
        target: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEntry]:
        """Return entries, the newest first; with conditions, of as many as are looked at at once.

        Raises:
            InvalidInputError: the cursor isn't one of this list.
        """
        before = None if cursor is None else _place(cursor)
        found: list[AuditEntry] = []
        looked = 0
        while len(found) < limit and looked < _LOOKED_AT:
            query = DocumentQuery(_KIND, before=before, newest_first=True, limit=limit)
            documents = self._keeping.documents(query)
            for document in documents:
                looked += 1
                before = document.key
                entry = _read(document)
                if _fits(entry, actor, action, target):
                    found.append(entry)
                    if len(found) == limit:
                        break
            if len(documents) < limit:
                return Page(items=found, next_cursor=self._after(before) if found else None)
        return Page(items=found, next_cursor=self._after(before))

    def _after(self, key: str | None) -> str | None:
        """Return the cursor behind a key, if there is anything."""
        query = DocumentQuery(_KIND, before=key, newest_first=True, limit=1)
        return make_cursor(key) if key is not None and self._keeping.documents(query) else None


def _fits(entry: AuditEntry, actor: str | None, action: Action | None, target: str | None) -> bool:
    return (
        actor in {None, entry.actor} and action in {None, entry.action}
        and target in {None, entry.target}
    )  # fmt: skip


def _place(cursor: str) -> str:
    [key] = read_cursor(cursor, [str])
    if not isinstance(key, str) or "\0" in key:
        raise InvalidInputError(f"cursor={cursor[:40]!r} is none that this list gave")
    return key


def _read(document: Document) -> AuditEntry:
    return AuditEntry.model_validate_json(document.body)


def data_of(model: BaseModel, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a model as JSON data, as it is written into entries."""
    data: dict[str, Any] = json.loads(model.model_dump_json(exclude=set(without)))
    return data
