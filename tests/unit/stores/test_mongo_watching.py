"""Hints from change streams: what wakes a watcher, and what becomes of it without them."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.mongodb import serving
from tests.servers.process import until
from tests.unit.stores.mongo_place import Place, placed
from tickwork.interfaces import Watching
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract.bench import (
    MINUTE,
    T0,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    runs_now,
    task,
)


class Sleeper:
    """A store that watches what others do."""

    def __init__(self, place: Place) -> None:
        self.store = place.open(place.store())
        assert isinstance(self.store, Watching)
        self._woken = threading.Event()
        self.store.watch(self._woken.set)

    def wait(self) -> None:
        """Wait to be woken, and forget it."""
        assert self._woken.wait(30), "nothing was heard"
        self._woken.clear()

    @property
    def is_woken(self) -> bool:
        return self._woken.is_set()


@pytest.fixture(autouse=True)
def _nobody_listens_on() -> Iterator[None]:
    """What listens ends by itself once its store was closed."""
    yield
    _join_watchers()


@pytest.fixture
def place(mongodb_url: str) -> Iterator[Place]:
    with placed(mongodb_url) as place:
        place.bench.open()
        yield place


@pytest.fixture
def sleeper(place: Place) -> Sleeper:
    sleeper = Sleeper(place)
    # Once it listens, it wakes for what it may have missed.
    sleeper.wait()
    return sleeper


def _watchers() -> list[threading.Thread]:
    """Return the threads that listen."""
    return [each for each in threading.enumerate() if each.name == "tickwork-mongo-watch"]


def _join_watchers() -> None:
    """Wait for the end of all threads that listen."""
    for thread in _watchers():
        thread.join(30)
        assert not thread.is_alive()


def test_what_may_have_become_due_wakes(place: Place, sleeper: Sleeper) -> None:
    bench = place.bench
    steps: list[Callable[[], object]] = [
        lambda: bench.put(task()),
        lambda: bench.edit(runs_now(pending(None))),
        lambda: bench.plan(moves_on(pending(T0), queued(T0 + 1), next_us=T0 + MINUTE), capacity={}),
    ]
    for step in steps:
        step()
        sleeper.wait()
    manual, run = (each.run for each in bench.lease(now_us=T0).leased)
    bench.finish(given_back(manual))
    sleeper.wait()
    # The queued one goes.
    bench.finish(finished(run))
    [manual] = (each.run for each in bench.lease().leased)
    bench.finish(finished(manual))
    sleeper.wait()
    bench.submit()
    sleeper.wait()
    [submitted] = (each.run for each in bench.lease().leased)
    bench.cancel(submitted)
    sleeper.wait()
    bench.finish(finished(submitted))
    holder = bench.submit(concurrency_key="key")
    sleeper.wait()
    bench.submit(concurrency_key="key")
    # The next one has its key.
    bench.cancel(holder)
    sleeper.wait()


def test_a_plan_that_leased_everything_wakes_nobody(place: Place, sleeper: Sleeper) -> None:
    bench = place.bench
    bench.put(task("a"))
    sleeper.wait()
    [leased] = bench.plan(moves_on(pending(T0), next_us=T0 + MINUTE)).leased
    bench.finish(finished(leased.run))
    assert not sleeper.is_woken
    # Whatever came before has been heard by the time that this is.
    bench.put(task("b"))
    sleeper.wait()
    assert not sleeper.is_woken


def test_nothing_is_heard_after_closing(place: Place, sleeper: Sleeper) -> None:
    """The thread that listens ends by itself, and no other takes its place."""
    [listening] = _watchers()
    sleeper.store.close()
    listening.join(30)
    assert not listening.is_alive()
    assert _watchers() == []
    place.bench.put(task())
    assert not sleeper.is_woken


def test_a_server_that_stands_alone_gives_no_hints() -> None:
    folder = tempfile.TemporaryDirectory()
    with folder, serving(Path(folder.name), "--standalone") as server, placed(server.url) as place:
        place.bench.open()
        store = place.open(place.store())
        woken = threading.Event()
        store.watch(woken.set)
        _join_watchers()
        assert not woken.is_set()
        place.bench.put(task())
        assert [each.run.task_id for each in place.bench.plan().leased] == ["task"]


def test_listening_goes_on_after_the_server_crashed() -> None:
    folder = tempfile.TemporaryDirectory()
    with folder, serving(Path(folder.name)) as server, placed(server.url) as place:
        place.bench.open()
        sleeper = Sleeper(place)
        sleeper.wait()
        server.restart()
        place.bench.put(task())
        sleeper.wait()


def test_what_a_waker_raises_stops_nothing(place: Place) -> None:
    calls: list[int] = []

    def wake() -> None:
        calls.append(len(calls))
        raise ZeroDivisionError

    store: MongoStore = place.open(place.store())
    store.watch(wake)
    until(lambda: len(calls) == 1, "it listens")
    place.bench.put(task())
    until(lambda: len(calls) == 2, "it listens on")
