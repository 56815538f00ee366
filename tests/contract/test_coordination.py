"""Locks, task locks, leader elections and tasks with gates, on every store.

Two clients share a store; time is a `ManualClock`'s. What doesn't depend on the store is tested in
`tests/unit/coordination` and `tests/unit/scheduler/test_gates.py`.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contract.test_store_file import FileCase
from tests.contract.test_store_mongodb import MongoDBCase
from tests.contract.test_store_mysql import MySQLCase
from tests.contract.test_store_postgresql import PostgreSQLCase
from tests.contract.test_store_redis import RedisCase
from tests.contract.test_store_sqlite import SQLiteCase
from tickwork import Scheduler
from tickwork.coordination import LeaderElection, Lock, TaskLock
from tickwork.errors import LockHeldError, LockLostError
from tickwork.model.locks import LockRecord
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler
from tickwork.testing.store_contract.case import StoreCase

ODD = ["door", "Door", "door ", "tür 🚪", "d:o/o*r{}'\"", "%s", "n" * 191]


class Coordination(StoreCase):
    @contextmanager
    def clients(self, **options: Any) -> Iterator[tuple[SteppedScheduler, SteppedScheduler]]:
        """Give two schedulers on one store, connected."""
        clock = ManualClock()
        store = self.make_store()
        one = SteppedScheduler(store, clock=clock, **options)
        two = SteppedScheduler(self.make_second(store), clock=clock, **options)
        with one.connect(), two.connect():
            yield one, two

    def test_a_lock_has_one_holder_and_each_a_higher_fence(self) -> None:
        with self.clients() as (one, two):
            fences = []
            for scheduler, other in ((one, two), (two, one), (one, two)):
                with Lock("door", scheduler=scheduler) as hold:
                    assert hold.held
                    assert Lock("door", scheduler=other).acquire(blocking=False) is None
                    [lock] = _locks(other)
                    assert (lock.name, lock.owner, lock.fence) == ("door", hold.owner, hold.fence)
                    assert lock.expires_us == one.clock.now_us() + 60_000_000
                    fences.append(hold.fence)
                assert _locks(other) == []
            assert fences == sorted(set(fences))

    def test_a_lock_is_as_good_in_coroutines(self) -> None:
        async def work(one: SteppedScheduler, two: SteppedScheduler) -> None:
            async with Lock("door", scheduler=one):
                assert await Lock("door", scheduler=two).aio.acquire(blocking=False) is None
            async with Lock("door", scheduler=two) as hold:
                assert hold.held

        with self.clients() as clients:
            asyncio.run(work(*clients))

    def test_a_lock_of_a_dead_holder_is_free_after_its_lease_and_not_before(self) -> None:
        with self.clients() as (one, two):
            dead, other = (Lock("door", lease=1.5, scheduler=each) for each in (one, two))
            # Nobody renews what was taken behind its back.
            asked = dead.request(one.locks_at())
            assert one.locks_at().store.acquire_lock(asked).owner == asked.owner
            one.clock.advance(seconds=1.499999)
            assert other.acquire(blocking=False) is None
            one.clock.advance(microseconds=1)
            assert other.acquire(blocking=False) is not None

    def test_a_lock_that_somebody_else_has_by_now_is_lost(self) -> None:
        with self.clients() as (one, two):
            hold = Lock("door", scheduler=one).acquire()
            assert hold is not None
            assert one.locks_at().store.renew_lock("door", hold.owner, 0)
            with Lock("door", scheduler=two):
                assert (hold.renew(), hold.lost, hold.release()) == (False, True, False)
                assert [lock.name for lock in _locks(one)] == ["door"]

    def test_locks_may_have_any_name(self) -> None:
        with self.clients() as (one, two):
            holds = [Lock(name, scheduler=one).acquire(blocking=False) for name in ODD]
            assert None not in holds
            for name in ODD:
                assert Lock(name, scheduler=two).acquire(blocking=False) is None
                election = LeaderElection(name, scheduler=two)
                election.start(threaded=False)
                election.step()
                assert election.is_leader
            assert len(_locks(one)) == 2 * len(ODD)

    def test_a_task_lock_lets_work_be_done_once_in_a_span(self) -> None:
        with self.clients() as (one, two):
            first, second = (TaskLock("report", 0.5, 2, scheduler=each) for each in (one, two))
            with first:
                one.clock.advance(seconds=0.25)
            with pytest.raises(LockHeldError), second:
                pytest.fail("the work would be done twice")
            one.clock.advance(seconds=0.249999)
            assert second.acquire(blocking=False) is None
            one.clock.advance(microseconds=1)
            with second:
                one.clock.advance(seconds=1.999999)
                assert first.acquire(blocking=False) is None

    def test_a_task_lock_is_lost_after_its_longest_time(self) -> None:
        with self.clients() as (one, two):
            first, second = (TaskLock("report", 0.5, 2, scheduler=each) for each in (one, two))
            assert first.acquire() is not None
            one.clock.advance(seconds=2)
            assert second.acquire(blocking=False) is not None
            with pytest.raises(LockLostError):
                first.release()
            assert len(_locks(one)) == 1

    def test_a_leader_is_followed_at_once_or_after_its_lease(self) -> None:
        with self.clients() as (one, two):
            first, second = (LeaderElection("lead", scheduler=each) for each in (one, two))
            for election in (first, second):
                election.start(threaded=False)
                election.step()
            assert (first.is_leader, second.is_leader) == (True, False)
            first.stop()
            second.step()
            assert (first.is_leader, second.is_leader) == (False, True)
            first.start(threaded=False)
            # The second one dies here.
            one.clock.advance(seconds=14.999999)
            first.step()
            assert not first.is_leader
            one.clock.advance(microseconds=1)
            first.step()
            assert first.is_leader

    def test_tasks_with_a_gate_are_executed_once_an_interval(self) -> None:
        done: list[int] = []
        with self.clients() as clients:
            for number, scheduler in enumerate(clients):
                scheduler.start()
                scheduler.add_task(
                    lambda it=number: done.append(it),
                    "interval",
                    seconds=10,
                    id="t" * 191,
                    max_lock_seconds=60,
                    leader=LeaderElection("lead"),
                    sync=Lock("disk"),
                )
                scheduler.step()
            clock = clients[0].clock
            began = len(done)
            for _ in range(10):
                for _ in range(10):
                    clock.advance(seconds=1)
                    for scheduler in clients:
                        scheduler.step()
            assert len(done) - began == 10
            assert set(done) == {0}
            clients[0].stop()
            clock.advance(seconds=10)
            clients[1].step()
            assert done[-1] == 1

    def test_what_is_held_when_a_scheduler_ends_is_nobodys_trouble(self) -> None:
        """A thread may go on in the middle of a `with` when the stores are closed."""
        with self.clients() as (one, two):
            lock, other = Lock("door", scheduler=one), Lock("door", scheduler=two)
            hold = lock.acquire()
            assert hold is not None
            one.close()
            lock.release()
            assert not hold.held
            one.clock.advance(seconds=60)
            assert other.acquire(blocking=False) is not None

    def test_by_real_clocks_a_lock_is_renewed_and_a_leader_followed(self) -> None:
        """As in the tests above, but that nobody steps anything."""
        store = self.make_store()
        one, two = Scheduler(store), Scheduler(self.make_second(store))
        elections = [
            LeaderElection("lead", lease=9, renew_deadline=6, retry_interval=0.1, scheduler=each)
            for each in (one, two)
        ]
        with one.connect(), two.connect():
            with elections[0], Lock("door", lease=4.5, scheduler=one) as hold:
                assert elections[0].wait(20)
                elections[1].start()
                before = _locks(two)
                until = time.monotonic() + 20
                while _locks(two)[0].expires_us == before[0].expires_us:
                    assert time.monotonic() < until, "it is never renewed"
                assert hold.held
                assert not elections[1].is_leader
            assert elections[1].wait(20)
            elections[1].stop()
            assert _locks(two) == []


def _locks(scheduler: Scheduler) -> list[LockRecord]:
    return scheduler.locks_at().store.locks()


class TestMemoryCoordination(Coordination):
    def make_store(self) -> MemoryStore:
        return MemoryStore()


class TestFileCoordination(FileCase, Coordination):
    pass


class TestSQLiteCoordination(SQLiteCase, Coordination):
    pass


class TestPostgreSQLCoordination(PostgreSQLCase, Coordination):
    pass


class TestMySQLCoordination(MySQLCase, Coordination):
    pass


class TestRedisCoordination(RedisCase, Coordination):
    pass


class TestMongoDBCoordination(MongoDBCase, Coordination):
    pass
