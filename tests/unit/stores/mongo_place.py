"""A place for stores in a MongoDB, and the documents behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from tests.unit.stores.mongo_commands import CutDatabase, Gate
from tickwork.interfaces import StoreEnvironment
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract import Bench

__all__ = ["Place", "placed"]

Document = dict[str, Any]

_COLLECTIONS = ("tasks", "runs", "nodes", "counters", "keys", "locks")


class Place:
    """A bench whose first client can be stopped, and the documents behind it."""

    def __init__(self, url: str, client: MongoClient[Document]) -> None:
        self.url = url
        self.gate = Gate()
        self.database: Database[Document] = client.get_default_database("tickwork")
        self.prefix = f"{token_hex(4)}_"
        cut: Any = CutDatabase(self.database, self.gate)
        one = MongoStore(cut, prefix=self.prefix)
        self.bench = Bench(one, MongoStore(self.database, prefix=self.prefix))
        self._open: list[MongoStore] = []

    def store(self, where: Any = None) -> MongoStore:
        """Return another store at this place, not opened."""
        return MongoStore(where if where is not None else self.url, prefix=self.prefix)

    def open(self, store: MongoStore) -> MongoStore:
        """Open a store with the bench's clock beside the server's; it is closed at the end."""
        store.open(StoreEnvironment(self.bench.codec, lambda: self.bench.now_us))
        self._open.append(store)
        return store

    def documents(self, name: str) -> list[Document]:
        """Return the documents of a collection by their ids."""
        return list(self.database[self.prefix + name].find(sort=[("_id", 1)]))

    def change(self, name: str, how: Document) -> None:
        """Change all documents of a collection."""
        self.database[self.prefix + name].update_many({}, how)

    def owing(self) -> list[str]:
        """Return the ids of tasks that have an outbox."""
        return [each["_id"] for each in self.documents("tasks") if "owing" in each]

    def drafts(self) -> list[str]:
        """Return the ids of runs that are drafts."""
        return [each["_id"] for each in self.documents("runs") if "draft" in each]

    def close(self) -> None:
        """Close all stores, and leave nothing behind."""
        self.gate.disarm()
        for store in self._open:
            store.close()
        self.bench.close()
        for name in _COLLECTIONS:
            self.database.drop_collection(self.prefix + name)


@contextmanager
def placed(url: str) -> Iterator[Place]:
    """Give a place of its own in a database."""
    client: MongoClient[Document] = MongoClient(url)
    place = Place(url, client)
    try:
        yield place
    finally:
        place.close()
        client.close()
