import pytest

from tests.servers.tables import EmptyTables
from tickwork.interfaces import Store
from tickwork.stores.sql import SQLStore
from tickwork.stores.sql.hints import Hints
from tickwork.testing.store_contract import StoreComparison, StoreContract
from tickwork.testing.store_contract.concurrency import ConcurrencyContract
from tickwork.testing.store_contract.leasing import LeasingContract


class PostgreSQLCase:
    @pytest.fixture(autouse=True)
    def _on_server(self, postgres_url: str) -> None:
        self.url = postgres_url
        self.tables = EmptyTables(postgres_url)
        self.prefix = ""

    def make_store(self) -> SQLStore:
        self.prefix = self.tables.prefix()
        return SQLStore(self.url, prefix=self.prefix)

    def make_unused(self) -> SQLStore:
        self.prefix = self.tables.unused()
        return SQLStore(self.url, prefix=self.prefix)

    def make_second(self, store: Store) -> SQLStore:
        return SQLStore(self.url, prefix=self.prefix)


class TestPostgreSQLStore(PostgreSQLCase, StoreContract):
    pass


class TestPostgreSQLBesideMemory(PostgreSQLCase, StoreComparison):
    # Each way there and back takes its time: SQLite has more.
    examples = 20


class HintedCase(PostgreSQLCase):
    """Whoever leases has always just heard a hint."""

    @pytest.fixture(autouse=True)
    def _heard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Hints, "were_heard", lambda _: True)


class TestHintedPostgreSQLStore(HintedCase, LeasingContract, ConcurrencyContract):
    pass


class TestHintedPostgreSQLBesideMemory(HintedCase, StoreComparison):
    examples = 20
