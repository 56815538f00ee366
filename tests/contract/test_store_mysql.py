import pytest

from tests.servers.tables import EmptyTables
from tickwork.interfaces import Store
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import StoreComparison, StoreContract


class MySQLCase:
    @pytest.fixture(autouse=True)
    def _on_server(self, mysql_url: str) -> None:
        self.url = mysql_url
        self.tables = EmptyTables(mysql_url)
        self.prefix = ""

    def make_store(self) -> SQLStore:
        self.prefix = self.tables.prefix()
        return SQLStore(self.url, prefix=self.prefix)

    def make_unused(self) -> SQLStore:
        self.prefix = self.tables.unused()
        return SQLStore(self.url, prefix=self.prefix)

    def make_second(self, store: Store) -> SQLStore:
        return SQLStore(self.url, prefix=self.prefix)


class TestMySQLStore(MySQLCase, StoreContract):
    pass


class TestMySQLBesideMemory(MySQLCase, StoreComparison):
    # Each way there and back takes its time: SQLite has more.
    examples = 20
