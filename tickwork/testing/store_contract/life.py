"""Opening and closing."""

from tickwork.errors import NotFoundError, StoreUnavailableError
from tickwork.interfaces import Store
from tickwork.testing.store_contract.bench import Bench, raised, removed, task
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["LifeContract"]


class LifeContract(StoreCase):
    """The contract about a store's beginning and end."""

    def test_it_is_a_store_with_a_kind(self) -> None:
        """It has all methods, and a name for its kind."""
        store = self.make_store()
        assert isinstance(store, Store)
        assert store.kind
        assert store.kind == type(store).kind
        assert isinstance(store.persistent, bool)

    def test_closing_keeps_what_is_stored(self) -> None:
        """Opened again, everything is there."""
        with self.bench() as bench:
            bench.register("node")
            bench.leased_with_queue(1, 2, 3)
            before = bench.dump()
            bench.close()
            bench.open()
            assert bench.dump() == before
            assert bench.active() == (3, 2)

    def test_what_is_only_looked_for_is_not_made(self) -> None:
        """Opened by one who only looks, a place where no scheduler was stays as it is."""
        store = self.make_unused()
        if not store.persistent:
            return
        bench = Bench(store, self.make_second(store))
        for _ in range(2):
            raised(NotFoundError, lambda: bench.open(existing=True))
        bench.open()
        bench.put(task())
        before = bench.dump()
        bench.close()
        bench.open(existing=True)
        assert bench.dump() == before
        bench.close()

    def test_a_store_that_is_not_open_says_so(self) -> None:
        """Before it was opened, and after it was closed."""
        store = self.make_store()
        bench = Bench(store, store)
        self._refuses(bench)
        bench.open()
        bench.put(task())
        bench.close()
        bench.close()
        self._refuses(bench)

    @staticmethod
    def _refuses(bench: Bench) -> None:
        assert "open" in raised(StoreUnavailableError, lambda: bench.put(task()))
        assert "open" in raised(StoreUnavailableError, lambda: bench.edit(removed()))

    def test_a_store_is_not_shared_by_chance(self) -> None:
        """Another new store holds nothing of the first."""
        with self.bench() as bench, self.bench() as another:
            bench.put(task())
            assert another.dump() == ({}, {}, {})
