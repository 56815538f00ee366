"""A SQLite file, stores on it, and a connection of the driver beside them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tickwork.interfaces import StoreEnvironment
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import Bench


class Place:
    """A database file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tasks.db"
        self.url = f"sqlite:///{self.path}"
        self.bench = Bench(self.store(), self.store())
        self._open: list[SQLStore] = []

    def store(self, **options: object) -> SQLStore:
        """Return another store on the file, not opened."""
        return SQLStore(self.url, **{"durability": "normal", **options})  # type: ignore[arg-type]

    def open(self, store: SQLStore) -> SQLStore:
        """Open a store with the bench's clock; it is closed at the end."""
        store.open(StoreEnvironment(self.bench.codec, lambda: self.bench.now_us))
        self._open.append(store)
        return store

    def driver(self) -> "closing[sqlite3.Connection]":
        """Return a connection of the driver's own, in autocommit mode."""
        return closing(sqlite3.connect(self.path, isolation_level=None, timeout=0.1))

    def close(self) -> None:
        for store in self._open:
            store.close()
        self.bench.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def opened(place: Place) -> Place:
    """Give the place with its bench open."""
    place.bench.open()
    return place
