from secrets import token_hex

import pytest

from tickwork.interfaces import Store
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract import StoreComparison, StoreContract


class MongoDBCase:
    @pytest.fixture(autouse=True)
    def _on_server(self, mongodb_url: str) -> None:
        self.url = mongodb_url
        self.prefix = ""

    def make_store(self) -> MongoStore:
        self.prefix = f"{token_hex(4)}_"
        return MongoStore(self.url, prefix=self.prefix)

    def make_second(self, store: Store) -> MongoStore:
        return MongoStore(self.url, prefix=self.prefix)


class TestMongoDBStore(MongoDBCase, StoreContract):
    pass


class TestMongoDBBesideMemory(MongoDBCase, StoreComparison):
    examples = 8
    commands = 30
