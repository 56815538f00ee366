"""Documents that are held in memory."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import islice

from tickwork.model.keeping import Document, DocumentQuery, check_place, revision_of

__all__ = ["Documents"]

_CROWD = 1_000


class Documents:
    """Documents by kind and key; not thread-safe by itself."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Document]] = {}
        self._keys: dict[str, list[str]] = {}
        self._expiring: list[tuple[int, str, str]] = []

    def keep(self, document: Document, expected: int | None, now_us: int) -> int | None:
        """Do a store's `keep`."""
        kind, key = document.kind, document.key
        of_kind = self._kinds.setdefault(kind, {})
        revision = revision_of(of_kind.get(key), now_us)
        if expected is not None and revision != expected:
            return None
        if key not in of_kind:
            keys = self._keys.setdefault(kind, [])
            keys.insert(bisect_left(keys, key), key)
        of_kind[key] = replace(document, revision=revision + 1, changed_us=now_us)
        if document.expires_us is not None:
            self._let_expire(document.expires_us, kind, key)
        return revision + 1

    def _let_expire(self, expires_us: int, kind: str, key: str) -> None:
        heap = self._expiring
        heappush(heap, (expires_us, kind, key))
        if len(heap) > _CROWD + 2 * sum(map(len, self._keys.values())):
            # Most entries are those of documents that were written anew.
            heap[:] = {it for it in heap if self._expires(it[1], it[2]) == it[0]}
            heapify(heap)

    def _expires(self, kind: str, key: str) -> int | None:
        document = self._kinds[kind].get(key)
        return document.expires_us if document else None

    def forget(self, kind: str, key: str, expected: int | None, now_us: int) -> bool:
        """Do a store's `forget`."""
        check_place(kind, key)
        revision = revision_of(self._kinds.get(kind, {}).get(key), now_us)
        if not revision or (expected is not None and revision != expected):
            return False
        self._drop(kind, key)
        return True

    def _drop(self, kind: str, key: str) -> None:
        del self._kinds[kind][key]
        keys = self._keys[kind]
        del keys[bisect_left(keys, key)]

    def listed(self, query: DocumentQuery, now_us: int) -> list[Document]:
        """Do a store's `documents`."""
        there = (each for each in self._found(query) if revision_of(each, now_us))
        return list(islice(there, query.limit))

    def _found(self, query: DocumentQuery) -> Iterator[Document]:
        of_kind, keys = self._kinds.get(query.kind, {}), self._keys.get(query.kind, [])
        first = 0 if query.after is None else bisect_right(keys, query.after)
        last = len(keys) if query.before is None else bisect_left(keys, query.before)
        if query.key is not None:
            first = max(first, bisect_left(keys, query.key))
            last = min(last, bisect_right(keys, query.key))
        places = range(first, last)
        return (of_kind[keys[at]] for at in (reversed(places) if query.newest_first else places))

    def prune(self, now_us: int, limit: int) -> None:
        """Forget up to `limit` documents that have expired."""
        heap = self._expiring
        while heap and heap[0][0] <= now_us and limit > 0:
            expires_us, kind, key = heappop(heap)
            # It may have been written anew since.
            if self._expires(kind, key) == expires_us:
                self._drop(kind, key)
                limit -= 1
