from itertools import count
from pathlib import Path
from shutil import copyfile

import pytest

from tickwork.interfaces import Store
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import StoreComparison, StoreContract


class SQLiteCase:
    """Stores on copies of a file with empty tables: making those takes longer than most tests."""

    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path, empty_sqlite: Path) -> None:
        self.files = (tmp_path / f"store{number}.db" for number in count())
        self.empty = empty_sqlite
        self.url = ""

    def make_store(self) -> SQLStore:
        file = next(self.files)
        copyfile(self.empty, file)
        return self._store(file)

    def make_unused(self) -> SQLStore:
        return self._store(next(self.files))

    def _store(self, file: Path) -> SQLStore:
        self.url = f"sqlite:///{file}"
        return SQLStore(self.url, durability="normal")

    def make_second(self, store: Store) -> SQLStore:
        return SQLStore(self.url, durability="normal")


class TestSQLiteStore(SQLiteCase, StoreContract):
    pass


class TestSQLiteBesideMemory(SQLiteCase, StoreComparison):
    pass
