from itertools import count
from pathlib import Path

import pytest

from tickwork.interfaces import Store
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import StoreComparison, StoreContract


class SQLiteCase:
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.urls = (f"sqlite:///{tmp_path}/store{number}.db" for number in count())
        self.url = ""

    def make_store(self) -> SQLStore:
        self.url = next(self.urls)
        return SQLStore(self.url, durability="normal")

    def make_second(self, store: Store) -> SQLStore:
        return SQLStore(self.url, durability="normal")


class TestSQLiteStore(SQLiteCase, StoreContract):
    pass


class TestSQLiteBesideMemory(SQLiteCase, StoreComparison):
    pass
