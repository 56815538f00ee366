"""What each part of the store contract begins with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Barrier, Thread
from typing import TypeVar

from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import Store
from tickwork.testing.store_contract.bench import LEASE_US, Bench

__all__ = ["StoreCase", "patiently"]

_THREADS = 4
_DEADLINE_S = 60.0
_LONG_US = 1_000 * LEASE_US

Got = TypeVar("Got")


def patiently(step: Callable[[], Got]) -> Got:
    """Take a step until the store lets us: being busy is no fault."""
    while True:
        try:
            return step()
        except StoreUnavailableError:
            continue


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

    def at_once(self, bench: Bench, work: Callable[[Store, str], None]) -> None:
        """Call `work(client, node)` in four threads, two on each client, and wait for them."""
        bench.register(*(f"node-{each}" for each in range(_THREADS)), lease_us=_LONG_US)
        barrier = Barrier(_THREADS)
        failures: list[BaseException] = []

        def guarded(number: int) -> None:
            try:
                barrier.wait(_DEADLINE_S)
                work((bench.store, bench.second)[number % 2], f"node-{number}")
            except BaseException as error:  # noqa: BLE001  told in the test's own thread
                failures.append(error)

        threads = [Thread(target=guarded, args=(each,), daemon=True) for each in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_DEADLINE_S)
            assert not thread.is_alive(), "the clients of a store wait for each other for ever"
        if failures:
            raise failures[0]
