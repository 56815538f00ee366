"""What each part of the store contract begins with."""

from collections.abc import Iterator
from contextlib import contextmanager

from tickwork.interfaces import Store
from tickwork.testing.store_contract.bench import Bench

__all__ = ["StoreCase"]


class StoreCase:
    """How a store under test is made."""

    def make_store(self) -> Store:
        """Return a new, empty store, not opened; a second one shares nothing with the first."""
        raise NotImplementedError

    def make_unused(self) -> Store:
        """Return a new store at a place that no store has ever been opened at."""
        return self.make_store()

    def make_second(self, store: Store) -> Store:
        """Return another client, not opened, on what `store` keeps; `store` if there is none."""
        return store

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """Give a bench with an open store; close it at the end."""
        store = self.make_store()
        bench = Bench(store, self.make_second(store))
        bench.open()
        try:
            yield bench
        finally:
            bench.close()
