"""Hints: what wakes a watcher, and what becomes of it when the connection breaks."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import until
from tests.servers.redis import RedisServer, serving
from tests.unit.stores.redis_place import Place, placed
from tickwork.interfaces import Watching
from tickwork.model.policies import ScheduleState
from tickwork.stores.redis import RedisStore
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    T0,
    decide_never,
    finished,
    given_back,
    pending,
    queued,
    runs_now,
    task,
)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that is this test's own."""
    folder = tempfile.TemporaryDirectory(prefix="tickwork-redis-")
    with folder, serving(Path(folder.name)) as server:
        yield server


class Sleeper:
    """A store that another watches, which counts how often it is woken."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.count = 0
        self.woken = threading.Event()
        self.store = place.open(place.store())
        assert isinstance(self.store, Watching)
        self.store.watch(self.wake)
        # Once it listens, it wakes for what it may have missed.
        self.wait()

    def wake(self) -> None:
        self.count += 1
        self.woken.set()

    def wait(self) -> None:
        """Wait to be woken, and forget it."""
        assert self.woken.wait(30), "nothing was heard"
        self.woken.clear()


@pytest.fixture
def sleeper(redis_url: str) -> Iterator[Sleeper]:
    with placed(redis_url) as place:
        place.bench.open()
        yield Sleeper(place)


def test_what_may_have_become_due_wakes_others(sleeper: Sleeper) -> None:
    bench = sleeper.place.bench
    bench.register("dead", lease_us=LEASE_US)
    bench.put(task(), task("waits", None, state=ScheduleState.PAUSED))
    sleeper.wait()
    bench.edit(runs_now(pending(None)), "waits")
    sleeper.wait()
    [run] = bench.plan(node="dead").leased
    bench.finish(given_back(run.run))
    sleeper.wait()
    bench.edit(runs_now(queued(T0 + 1)), "task")
    leased = bench.lease(node="dead").leased
    bench.finish(*(finished(each.run) for each in leased))
    sleeper.wait()
    bench.lease(node="dead", now_us=T0 + 1)
    bench.now_us += LEASE_US
    assert len(bench.recover().runs) == 1
    sleeper.wait()


def test_who_lets_go_of_a_key_wakes_others(sleeper: Sleeper) -> None:
    bench = sleeper.place.bench
    bench.submit(concurrency_key="key")
    sleeper.wait()
    bench.submit(concurrency_key="key")
    [leased] = bench.lease().leased
    bench.finish(finished(leased.run))
    sleeper.wait()
    [last] = bench.lease().leased
    bench.cancel(last.run)
    sleeper.wait()


def test_what_others_need_not_know_wakes_nobody(sleeper: Sleeper) -> None:
    bench = sleeper.place.bench
    bench.put(task(due_us=None), task("paused", state=ScheduleState.PAUSED))
    bench.register("node")
    bench.edit(runs_now(), "task")
    sleeper.store.put([task("own")], decide_never, bench.new_id)
    [leased] = bench.plan().leased
    bench.finish(finished(leased.run))
    before = sleeper.count
    # What comes after all that is heard, and heard alone.
    bench.put(task("last"))
    sleeper.wait()
    assert sleeper.count == before + 1 == 2


def test_a_burst_wakes_a_few_times(sleeper: Sleeper) -> None:
    channel = f"{{{sleeper.place.prefix}}}:hints"
    with sleeper.place.client.pipeline(transaction=False) as pipeline:
        for _ in range(1_000):
            pipeline.publish(channel, "somebody")
        assert pipeline.execute() == [1] * 1_000
    sleeper.wait()
    # Closing waits for the watcher, so what is counted then is all.
    sleeper.store.close()
    assert 2 <= sleeper.count < 20


def test_hints_go_on_after_a_restart(server: RedisServer) -> None:
    with placed(server.url) as place:
        place.bench.open()
        sleeper = Sleeper(place)
        server.restart()
        sleeper.wait()
        place.bench.put(task())
        until(lambda: sleeper.count >= 3, "the new task is heard of")


def test_closing_ends_the_watcher(sleeper: Sleeper) -> None:
    def watchers() -> int:
        return sum(each.name == "tickwork-redis-hints" for each in threading.enumerate())

    assert watchers() == 1
    sleeper.store.close()
    assert watchers() == 0
    count = sleeper.count
    sleeper.place.bench.put(task())
    sleeper.place.open(sleeper.store)
    assert sleeper.count == count


def test_who_raises_when_woken_is_woken_again(
    sleeper: Sleeper, caplog: pytest.LogCaptureFixture
) -> None:
    woken = threading.Semaphore(0)

    def wake() -> None:
        woken.release()
        raise ValueError("no")

    store = sleeper.place.open(sleeper.place.store())
    store.watch(wake)
    assert woken.acquire(timeout=30)
    sleeper.place.bench.put(task())
    assert woken.acquire(timeout=30)
    store.close()
    assert caplog.messages == ["waking for a hint failed"] * 2


def test_a_watcher_may_close_its_store(redis_url: str) -> None:
    with placed(redis_url) as place:
        store: RedisStore = place.open(place.store())
        closed = threading.Event()

        def wake() -> None:
            store.close()
            closed.set()

        store.watch(wake)
        assert closed.wait(30)
