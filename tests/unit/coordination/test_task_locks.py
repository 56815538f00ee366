"""Locks for work that is done once in a span of time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.coordination.places import (
    DEADLINE_S,
    Process,
    Site,
    in_thread,
    losing,
    pass_until,
    until,
)
from tickwork.coordination import Hold, Place, TaskLock
from tickwork.errors import InvalidInputError, LockHeldError, LockLostError
from tickwork.testing import ManualClock


@pytest.fixture
def new(site: Site) -> Callable[..., TaskLock]:
    """Make a lock in a process of its own: kept for 10 s at least, held for 60 s at most."""

    def made(least: float = 10, most: float = 60, **options: Any) -> TaskLock:
        return TaskLock("report", least, most, scheduler=site.process(), **options)

    return made


def get(lock: TaskLock) -> bool:
    """Take it if it is to be had, and give it back."""
    if lock.acquire(blocking=False) is None:
        return False
    lock.release()
    return True


def test_work_is_done_once_in_a_span_counted_from_its_beginning(
    new: Callable[..., TaskLock], clock: ManualClock
) -> None:
    lock, other = new(), new()
    with lock:
        clock.advance(seconds=4)
    for each in (lock, other):
        with pytest.raises(LockHeldError, match="is held by somebody else, or kept"), each:
            pytest.fail("the work would be done twice")
    clock.advance(seconds=5.999999)
    assert not get(other)
    clock.advance(microseconds=1)
    assert get(other)
    assert not get(lock)


def test_while_it_is_done_nobody_else_does_it(
    new: Callable[..., TaskLock], clock: ManualClock
) -> None:
    lock, other = new(), new()
    with lock:
        clock.advance(seconds=59.999999)
        assert not get(other)


def test_a_span_of_milliseconds_is_one(new: Callable[..., TaskLock], clock: ManualClock) -> None:
    lock, other = new(0.002, 0.005), new(0.002, 0.005)
    assert get(lock)
    clock.advance(milliseconds=1.999)
    assert not get(other)
    clock.advance(microseconds=1)
    assert get(other)


def test_after_the_longest_time_others_have_it(
    new: Callable[..., TaskLock], clock: ManualClock, site: Site
) -> None:
    """It isn't renewed, and its holder is told."""
    lock, other = new(), new()
    with losing(lock, "lost after its lease of 60 s") as hold:
        clock.advance(seconds=59.999999)
        assert hold.held
        clock.advance(microseconds=1)
        second = other.acquire(blocking=False)
        assert second is not None
        assert second.fence > hold.fence
        owner = second.owner
    assert site.lock("report").owner == owner


def test_a_holder_that_died_is_followed_after_the_longest_time_and_not_before(
    new: Callable[..., TaskLock], clock: ManualClock
) -> None:
    dead, other = new(), new()
    assert dead.acquire() is not None
    clock.advance(seconds=59.999999)
    assert not get(other)
    clock.advance(microseconds=1)
    assert get(other)


def test_work_that_fails_has_been_done(new: Callable[..., TaskLock], clock: ManualClock) -> None:
    lock = new()
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 / 0
    assert not get(lock)
    clock.advance(seconds=10)
    assert get(lock)


def test_who_waits_for_it_gets_it_when_the_span_is_over(
    new: Callable[..., TaskLock], clock: ManualClock, site: Site
) -> None:
    """And not only when all that was ever said about it is forgotten."""
    lock, other = new(), new()
    assert get(lock)
    got_us: list[int] = []

    def work() -> Hold | None:
        hold = other.acquire(timeout=60)
        got_us.append(clock.now_us())
        return hold

    began_us = clock.now_us()
    with in_thread(work) as results:
        until(lambda: len(site.store.wanted) == 2, "it asks")
        clock.advance(seconds=9.9)
        assert got_us == []
        pass_until(clock, lambda: got_us, seconds=0.1)
    assert isinstance(results[0], Hold)
    assert 10_000_000 <= got_us[0] - began_us < 20_000_000


def test_in_coroutines_it_is_the_same(new: Callable[..., TaskLock], clock: ManualClock) -> None:
    lock, other = new(), new()

    async def work() -> None:
        async with lock as hold:
            assert lock.hold is hold
            assert await other.aio.acquire(blocking=False) is None
        with pytest.raises(LockHeldError):
            async with other:
                pytest.fail("the work would be done twice")
        clock.advance(seconds=10)
        async with other:
            clock.advance(seconds=60)
            with pytest.raises(LockLostError):
                await other.aio.release()
            assert await other.aio.acquire() is not None

    asyncio.run(asyncio.wait_for(work(), DEADLINE_S))


def test_its_store_is_asked_for_the_time_off_the_loop(clock: ManualClock, site: Site) -> None:
    """To measure a store's clock takes a call of the store."""
    on_loop: list[bool] = []

    def now_us() -> int:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            on_loop.append(False)
        else:
            on_loop.append(True)
        return clock.now_us()

    process = Process(Place(site.store, clock, now_us, simulated=True))
    lock = TaskLock("report", 10, 60, scheduler=process)

    async def work() -> None:
        async with lock:
            pass

    asyncio.run(work())
    assert on_loop == [False]


def test_processes_whose_clocks_differ_agree_on_the_span_by_the_store(
    clock: ManualClock, site: Site
) -> None:
    """They know how far theirs is from the store's; another one is only as good as that."""
    here = TaskLock("report", 10, 60, scheduler=site.process())
    slow = Place(site.store, clock, lambda: clock.now_us() - 3_000_000, simulated=True)
    there = TaskLock("report", 10, 60, scheduler=Process(slow))
    assert get(here)
    clock.advance(seconds=12.999999)
    assert not get(there)
    clock.advance(microseconds=1)
    assert get(there)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), True, "5"])
def test_times_that_are_none_are_refused(seconds: Any) -> None:
    for least, most, name in ((seconds, 5, "min"), (5, seconds, "max")):
        with pytest.raises(InvalidInputError) as raised:
            TaskLock("report", least, most)
        assert str(raised.value) == (
            f"{name}_lock_seconds={seconds!r} must be a number of seconds greater than 0"
        )


def test_a_span_longer_than_the_longest_time_is_refused() -> None:
    with pytest.raises(InvalidInputError) as raised:
        TaskLock("report", 60.1, 60)
    assert str(raised.value) == "min_lock_seconds must be less than or equal to max_lock_seconds"
    assert repr(TaskLock("report", 60, 60)) == "<TaskLock 'report'>"
