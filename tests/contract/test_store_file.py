from itertools import count
from pathlib import Path

import pytest

from tickwork.interfaces import Store
from tickwork.stores.file import FileStore
from tickwork.stores.memory import MemoryStore
from tickwork.testing.store_contract import Bench, StoreComparison, StoreContract
from tickwork.testing.store_contract.pair import Pair


class FileCase:
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folders = (tmp_path / f"store{number}" for number in count())
        self.folder = tmp_path

    def make_store(self) -> FileStore:
        self.folder = next(self.folders)
        return FileStore(self.folder, durability="normal")

    def make_second(self, store: Store) -> FileStore:
        return FileStore(self.folder, durability="normal")


class TestFileStore(FileCase, StoreContract):
    pass


class TestFileStoreBesideMemory(FileCase, StoreComparison):
    pass


class Shared(Pair):
    """Commands go to two clients in turn; both show the same, and so does whoever comes anew."""

    def __init__(self, one: Bench, other: Bench, folder: Path) -> None:
        super().__init__(one, other)
        self._folder = folder

    def check(self) -> None:
        super().check()
        files = self.benches[0]
        before = files.dump()
        files.store, files.second = files.second, files.store
        assert files.dump() == before
        third = FileStore(self._folder, durability="normal")
        newcomer = Bench(third, third)
        newcomer.now_us = files.now_us
        newcomer.open()
        assert newcomer.dump() == before
        newcomer.close()
        super().check()


class TestSharedFileStoreBesideMemory(FileCase, StoreComparison):
    examples = 15

    def _pair(self) -> Pair:
        memory = MemoryStore()
        files = self.make_store()
        benches = Bench(files, self.make_second(files)), Bench(memory, memory)
        for bench in benches:
            bench.open()
        return Shared(*benches, self.folder)
