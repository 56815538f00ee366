"""Documents of one kind, as data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tickwork.interfaces import Keeping
from tickwork.model.json_text import to_text
from tickwork.model.keeping import Document, DocumentQuery

__all__ = ["Kept", "Shelf", "kept_of"]

_PAGE = 500


class Kept(NamedTuple):
    """A document's data, and what is to be known to change it."""

    key: str
    data: dict[str, Any]
    revision: int
    expires_us: int | None


class Shelf:
    """The documents of one kind in a store."""

    def __init__(self, keeping: Keeping, kind: str) -> None:
        self._keeping = keeping
        self._kind = kind

    def get(self, key: str) -> Kept | None:
        """Return a document, or None."""
        found = self._keeping.documents(DocumentQuery(self._kind, key=key, limit=1))
        return kept_of(found[0]) if found else None

    def all(self) -> Iterator[Kept]:
        """Yield all documents, in the order of their keys."""
        after: str | None = None
        while page := self._keeping.documents(DocumentQuery(self._kind, after=after, limit=_PAGE)):
            yield from map(kept_of, page)
            after = page[-1].key

    def put(
        self,
        key: str,
        data: Mapping[str, Any],
        *,
        expected: int | None = None,
        expires_us: int | None = None,
    ) -> int | None:
        """Write a document; return its revision, None where it wasn't the `expected` one."""
        document = Document(self._kind, key, to_text(data), expires_us=expires_us)
        return self._keeping.keep(document, expected)

    def drop(self, key: str, expected: int | None = None) -> bool:
        """Remove a document; False where there is none, or another one than `expected`."""
        return self._keeping.forget(self._kind, key, expected)


def kept_of(document: Document) -> Kept:
    """Return a document with its data."""
    return Kept(document.key, json.loads(document.body), document.revision, document.expires_us)
