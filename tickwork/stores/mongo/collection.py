"""Collections whose calls take bounded time, and raise nothing of the driver's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import IndexModel, ReturnDocument, UpdateMany, UpdateOne
from pymongo.collection import Collection as DriverCollection
from pymongo.errors import BulkWriteError, PyMongoError

from tickwork.errors import InvalidInputError, StoreUnavailableError

__all__ = ["CHUNK", "Collection", "Document", "Order", "asking", "chunks"]

Document = dict[str, Any]
Order = Sequence[tuple[str, int]]

_Item = TypeVar("_Item")

CHUNK = 250
"""How many ids one command names at most; the more there are, the slower each is compared."""

_PIECE = 500
"""How many documents one command names at most to write, so that each takes bounded time."""

_DUPLICATE = 11000


@contextmanager
def asking(patience_s: float | None) -> Iterator[None]:
    """Translate what calls within raise, and bound their time where their client doesn't."""
    try:
        with nullcontext() if patience_s is None else pymongo.timeout(patience_s):
            yield
    except PyMongoError as error:
        raise StoreUnavailableError(f"MongoDB doesn't answer as it should: {error}") from error
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"MongoDB can't store this: {error}") from error


def chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield items in pieces that fit into one command."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


class Collection:
    """A collection of the driver's, as the steps use it."""

    def __init__(self, inner: DriverCollection[Document], patience_s: float | None) -> None:
        self._inner = inner
        self._patience_s = patience_s

    def _asking(self) -> AbstractContextManager[None]:
        return asking(self._patience_s)

    def index(self, indexes: Sequence[IndexModel]) -> None:
        """Make indexes, as far as they aren't there."""
        with self._asking():
            self._inner.create_indexes(list(indexes))

    def find(
        self,
        where: Mapping[str, Any],
        fields: Sequence[str] | None = None,
        *,
        order: Order = (),
        limit: int = 0,
        offset: int = 0,
        which: Callable[[Document], bool] | None = None,
    ) -> list[Document]:
        """Return documents; with `which`, only those of which it says so count."""
        with self._asking():
            cursor = self._inner.find(where, fields, skip=offset)
            if order:
                cursor = cursor.sort(list(order))
            if which is None:
                return list(cursor.limit(limit))
            return _chosen(cursor, which, limit)

    def first(
        self, where: Mapping[str, Any], fields: Sequence[str] | None = None, *, order: Order = ()
    ) -> Document | None:
        """Return the first document, or None."""
        found = self.find(where, fields, order=order, limit=1)
        return found[0] if found else None

    def groups(self, *stages: Mapping[str, Any]) -> list[Document]:
        """Return what a pipeline makes of the collection."""
        with self._asking(), self._inner.aggregate(list(stages)) as cursor:
            return list(cursor)

    def values(self, field: str, where: Mapping[str, Any]) -> list[Any]:
        """Return the different values of a field."""
        with self._asking():
            return self._inner.distinct(field, where)

    def count(self, where: Mapping[str, Any]) -> int:
        """Return how many documents there are."""
        with self._asking():
            return self._inner.count_documents(where)

    def add(self, documents: Sequence[Document]) -> list[int]:
        """Add documents; return the places of those that were refused as duplicates."""
        refused: list[int] = []
        for start in range(0, len(documents), _PIECE):
            piece = documents[start : start + _PIECE]
            with self._asking():
                try:
                    self._inner.insert_many(piece, ordered=False)
                except BulkWriteError as error:
                    refused += [start + place for place in _duplicates(error)]
        return refused

    def change(self, where: Mapping[str, Any], how: Mapping[str, Any]) -> int:
        """Change documents, each by itself; return how many met the condition."""
        with self._asking():
            return self._inner.update_many(where, how).matched_count

    def change_each(self, changes: Sequence[tuple[Document, Document]]) -> int:
        """Change one document for each condition; return how many conditions were met."""
        met = 0
        for start in range(0, len(changes), _PIECE):
            piece = [UpdateOne(where, how) for where, how in changes[start : start + _PIECE]]
            with self._asking():
                met += self._inner.bulk_write(piece, ordered=False).matched_count
        return met

    def change_all(self, changes: Sequence[tuple[Document, Document]]) -> None:
        """Change all documents that meet each condition."""
        if not changes:
            return
        with self._asking():
            updates = [UpdateMany(where, how) for where, how in changes]
            self._inner.bulk_write(updates, ordered=False)

    def change_one(self, where: Mapping[str, Any], how: Mapping[str, Any]) -> bool:
        """Change one document; return whether there was one that met the condition."""
        with self._asking():
            return self._inner.update_one(where, how).matched_count == 1

    def put(self, document: Document) -> None:
        """Add a document, or put it in the place of the one with its id."""
        with self._asking():
            self._inner.replace_one({"_id": document["_id"]}, document, upsert=True)

    def next_number(self, name: str) -> int:
        """Return a number that is higher by one than the last under this name."""
        with self._asking():
            after = ReturnDocument.AFTER
            found = self._inner.find_one_and_update(
                {"_id": name}, {"$inc": {"value": 1}}, return_document=after
            )
        if found is None:
            raise StoreUnavailableError(f"the counter {name!r} is gone from MongoDB; open it again")
        return int(found["value"])

    def remove(self, where: Mapping[str, Any]) -> int:
        """Remove documents; return how many."""
        with self._asking():
            return self._inner.delete_many(where).deleted_count


def _chosen(
    cursor: Iterator[Document], which: Callable[[Document], bool], limit: int
) -> list[Document]:
    chosen: list[Document] = []
    for document in cursor:
        if which(document):
            chosen.append(document)
            if len(chosen) == limit:
                break
    return chosen


def _duplicates(error: BulkWriteError) -> list[int]:
    failures = (error.details or {}).get("writeErrors", [])
    others = [each for each in failures if each["code"] != _DUPLICATE]
    if others or (error.details or {}).get("writeConcernErrors"):
        raise error
    return sorted(each["index"] for each in failures)
