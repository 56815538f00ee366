"""Locks of resources: in threads and coroutines, with stores that fail and a manual clock."""

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.unit.coordination.places import (
    DEADLINE_S,
    Process,
    Site,
    at_once,
    becoming,
    in_thread,
    losing,
    pass_until,
    until,
)
from tickwork import Scheduler
from tickwork.coordination import Hold, Lock, TaskLock
from tickwork.errors import (
    ConflictError,
    InvalidInputError,
    LockLostError,
    SchedulerStateError,
    StoreUnavailableError,
    TaskConfigurationError,
)
from tickwork.scheduler.clock import SystemClock
from tickwork.testing import Fault, ManualClock


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, DEADLINE_S))


def is_renewed(name: str) -> bool:
    """Whether a thread renews locks of this name."""
    return any(each.name == f"tickwork-lock-{name}" for each in threading.enumerate())


# --- one holder at a time -----------------------------------------------------------------------


def test_a_lock_is_held_inside_of_the_with_and_free_after_it(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())
    with lock as hold:
        assert (hold.held, hold.lost, lock.hold, lock.fence) == (True, False, hold, hold.fence)
        assert site.lock("door").owner == hold.owner
        assert site.lock("door").fence == hold.fence
        assert site.lock("door").about.startswith("process ")
    assert (hold.held, hold.lost, lock.hold, lock.fence) == (False, False, None, None)
    assert site.names == []


def test_it_is_free_after_an_error_too(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 / 0
    assert site.names == []


@pytest.mark.parametrize("same_process", [True, False])
def test_another_lock_of_that_name_is_refused_meanwhile(site: Site, same_process: bool) -> None:
    here = site.process()
    lock = Lock("door", scheduler=here)
    other = Lock("door", scheduler=here if same_process else site.process())
    with lock as first:
        assert other.acquire(blocking=False) is None
        assert other.hold is None
        assert Lock("window", scheduler=here).acquire(blocking=False) is not None
    second = other.acquire(blocking=False)
    assert second is not None
    assert second.fence > first.fence
    other.release()
    assert site.names == ["window"]


def test_who_waits_gets_it_once_it_is_free(site: Site, clock: ManualClock) -> None:
    lock = Lock("door", scheduler=site.process(), retry_interval=0.25)

    def work() -> int:
        with lock as hold:
            return hold.fence

    with lock as first:
        asked = len(site.store.wanted)
        threads = in_thread(work)
        results = threads.__enter__()
        until(lambda: len(site.store.wanted) > asked, "the other asks for it")
    assert results == []
    pass_until(clock, lambda: results, seconds=0.25)
    threads.__exit__(None, None, None)
    assert results == [first.fence + 1]


def test_who_waits_gives_up_after_his_time_and_not_before(site: Site, clock: ManualClock) -> None:
    lock = Lock("door", scheduler=site.process(), retry_interval=10)
    began_us = clock.now_us()
    ended_us: list[int] = []

    def work() -> Hold | None:
        hold = lock.acquire(timeout=0.25)
        ended_us.append(clock.now_us())
        return hold

    with lock, in_thread(work) as results:
        until(lambda: len(site.store.wanted) == 2, "it asks")
        clock.advance(seconds=0.2)
        clock.advance(seconds=0.05)
    assert results == [None]
    assert ended_us == [began_us + 250_000]


def test_without_time_it_asks_once(site: Site) -> None:
    lock, other = (Lock("door", scheduler=site.process()) for _ in range(2))
    with lock:
        assert other.acquire(timeout=0) is None
        assert site.store.wanted == ["door", "door"]


def test_threads_and_coroutines_share_one_object() -> None:
    """Four threads and four coroutines each, on two event loops; nobody is there twice."""
    site = Site.real()
    lock = Lock("door", scheduler=site.process(), retry_interval=0.001)
    inside: Counter[str] = Counter()
    fences: list[int] = []

    def enter(hold: Hold) -> None:
        inside["now"] += 1
        assert inside["now"] == 1
        assert lock.hold is hold
        fences.append(hold.fence)
        inside["now"] -= 1

    def in_a_thread() -> None:
        for _ in range(10):
            with lock as hold:
                enter(hold)

    async def in_a_coroutine() -> None:
        for _ in range(5):
            async with lock as hold:
                enter(hold)

    async def four() -> None:
        await asyncio.gather(*(in_a_coroutine() for _ in range(4)))

    at_once([in_a_thread, in_a_thread, in_a_thread, in_a_thread, *[lambda: run(four())] * 2])
    assert len(fences) == 4 * 10 + 2 * 4 * 5
    assert fences == sorted(set(fences))
    assert site.names == []


def test_nobody_takes_it_twice(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())
    with lock, pytest.raises(ConflictError, match="can't be taken twice"):
        lock.acquire()

    async def work() -> None:
        async with lock:
            with pytest.raises(ConflictError, match="can't be taken twice"):
                await lock.aio.acquire()

    run(work())
    assert site.store.wanted == ["door", "door"]


def test_only_who_holds_it_gives_it_back(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())
    with pytest.raises(ConflictError, match="isn't held by its caller"):
        lock.release()
    with lock, in_thread(lock.release) as results:
        pass
    assert isinstance(results[0], ConflictError)


def test_a_hold_that_was_given_back_by_itself_is_in_nobodys_way(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())
    first = lock.acquire()
    assert first is not None
    assert (first.release(), first.release(), lock.hold) == (True, False, None)
    second = lock.acquire()
    assert second is not None
    assert lock.hold is second
    lock.release()
    assert site.names == []


def test_each_thread_is_another_caller_also_where_its_number_is_the_same(site: Site) -> None:
    """The system gives the numbers of threads that have ended to new ones."""
    lock = TaskLock("door", 1, 1, scheduler=site.process())
    idents, got = set(), []
    for _ in range(20):
        with in_thread(lambda: (threading.get_ident(), lock.acquire(blocking=False))) as results:
            pass
        idents.add(results[0][0])
        got.append(results[0][1] is not None)
    assert len(idents) < 20
    assert got == [True] + [False] * 19, "the first one never gave it back"


# --- while it is held ---------------------------------------------------------------------------


def test_it_is_renewed_for_as_long_as_it_is_held(site: Site, clock: ManualClock) -> None:
    renewed: list[int] = []
    site.store.during = lambda step, _: renewed.append(clock.now_us()) if step == "renew" else None
    with Lock("door", lease=30, scheduler=site.process()) as hold:
        for number in range(1, 11):
            clock.advance(seconds=10)
            until(lambda it=number: len(renewed) == it, "it is renewed")  # type: ignore[misc]
        assert hold.held
        assert site.lock("door").expires_us == clock.now_us() + 30_000_000
    assert len(renewed) == 11
    assert not hold.lost


def test_nothing_is_left_of_a_lock_that_was_given_back(site: Site) -> None:
    """Also while time stands still: threads that only find out later would pile up."""
    lock = Lock("revolving door", scheduler=site.process())
    for _ in range(50):
        with lock:
            pass
    until(lambda: not is_renewed("revolving door"), "the threads that renew it have ended")


def test_a_store_that_comes_back_in_time_costs_nothing(site: Site, clock: ManualClock) -> None:
    lost: list[Hold] = []
    lock = Lock("door", lease=30, scheduler=site.process(), on_lost=lost.append)
    with lock as hold:
        site.store.down = True
        clock.advance(seconds=29.8)
        until(lambda: site.store.failed, "it couldn't be renewed")
        assert hold.held
        site.store.down = False
        renewed = threading.Event()
        site.store.during = lambda *_: renewed.set()
        clock.advance(seconds=0.1)
        assert renewed.wait(DEADLINE_S)
        clock.advance(seconds=29)
        assert hold.held
    assert lost == []


def test_a_lock_that_is_lost_is_told_to_its_holder(
    site: Site, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()
    lost: list[Hold] = []

    def on_lost(hold: Hold) -> None:
        lost.append(hold)
        told.set()

    lock = Lock("door", lease=30, scheduler=site.process(), on_lost=on_lost)
    message = "the lock 'door' was lost after its lease of 30 s; another holder may be at work"
    with losing(lock, f"^{message}$") as hold:
        hold.check()
        site.store.down = True
        clock.advance(seconds=30)
        assert told.wait(DEADLINE_S)
        site.store.down = False
        assert lost == [hold]
        assert (hold.held, hold.lost) == (False, True)
        with pytest.raises(LockLostError):
            hold.check()
        assert Lock("door", scheduler=site.process()).acquire(blocking=False) is not None
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        message
    ]
    assert len(site.names) == 1, "the one of the other"


def test_an_error_inside_says_more_than_the_loss(site: Site, clock: ManualClock) -> None:
    lock = Lock("door", lease=30, scheduler=site.process())

    def work() -> None:
        with lock:
            site.store.down = True
            clock.advance(seconds=30)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()


def test_what_nobody_else_had_meanwhile_was_not_lost(site: Site, clock: ManualClock) -> None:
    """Here a lease is over before it is over in the store, which says so at the end."""
    place = site.process().at
    asked_us = clock.now_us()

    def answer_slowly(*_: object) -> None:
        clock.set(asked_us + 1_000_000)

    lock = Lock("door", lease=1, scheduler=Process(place))
    site.store.faults["renew"].extend([Fault.BEFORE] * 50)
    hold = lock.acquire()
    assert hold is not None
    clock.set(asked_us + 999_999)
    assert hold.held
    site.store.during = answer_slowly
    site.store.faults["renew"].clear()
    lock.release()
    assert not hold.lost


def test_a_loss_that_nobody_renews_after(site: Site, clock: ManualClock) -> None:
    """Somebody else has it: a renewal says so, and doesn't take it back."""
    lock = Lock("door", lease=30, scheduler=site.process())
    with losing(lock, "lost") as hold:
        assert site.store.renew_lock("door", hold.owner, 0)
        other = Lock("door", scheduler=site.process()).acquire(blocking=False)
        assert other is not None
        assert [hold.renew(), hold.lost, hold.renew()] == [False, True, False]
        owner = other.owner
    assert site.lock("door").owner == owner


def test_an_on_lost_that_fails_is_logged(
    site: Site, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    lock = Lock("door", lease=30, scheduler=site.process(), on_lost=lambda _: 1 / 0)
    with losing(lock, "lost"):
        site.store.down = True
        clock.advance(seconds=30)
        until(lambda: "on_lost of <Lock 'door'> failed" in caplog.text, "it is logged")


# --- when the store fails -----------------------------------------------------------------------


def test_an_answer_that_is_lost_is_asked_for_again(site: Site) -> None:
    site.store.faults["acquire"].append(Fault.AFTER)
    with Lock("door", scheduler=site.process()) as hold:
        assert site.store.wanted == ["door", "door"]
        assert site.lock("door").owner == hold.owner
        assert site.lock("door").fence == hold.fence


def test_a_lock_that_may_have_been_given_is_given_back(site: Site) -> None:
    """Or who tries again would be refused for a whole lease, by himself."""
    lock = Lock("door", scheduler=site.process())
    site.store.faults["acquire"].extend([Fault.AFTER, Fault.AFTER])
    with pytest.raises(StoreUnavailableError, match="its answer was lost"):
        lock.acquire()
    assert site.names == []
    assert lock.acquire(blocking=False) is not None
    lock.release()


def test_a_store_that_is_down_is_told(site: Site) -> None:
    site.store.down = True
    with pytest.raises(StoreUnavailableError, match="down"):
        Lock("door", scheduler=site.process()).acquire()


def test_a_lock_that_cannot_be_given_back_ends_by_itself(
    site: Site, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    other = Lock("door", scheduler=site.process())
    with Lock("door", lease=30, scheduler=site.process()) as hold:
        site.store.down = True
    assert not hold.held
    assert "lock 'door' could not be given back: down" in caplog.text
    site.store.down = False
    clock.advance(seconds=29.999999)
    assert other.acquire(blocking=False) is None
    clock.advance(microseconds=1)
    assert other.acquire(blocking=False) is not None


def test_a_lock_that_was_given_too_late_is_not_taken(site: Site, clock: ManualClock) -> None:
    """The process stood still, or the store took too long: the lease was over on arrival."""
    lock = Lock("door", lease=1, scheduler=site.process())
    site.store.during = lambda step, _: clock.advance(seconds=1) if step == "acquire" else None
    assert lock.acquire(blocking=False) is None
    assert lock.hold is None
    assert site.names == []


# --- coroutines ---------------------------------------------------------------------------------


def test_a_coroutine_holds_it_inside_of_the_with(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())

    async def work() -> None:
        async with lock as hold:
            assert lock.hold is hold
            assert await asyncio.create_task(_held_by(lock)) is None, "another task"
            assert site.names == ["door"]
        assert await lock.aio.acquire(blocking=False) is not None
        await lock.aio.release()
        with pytest.raises(ConflictError):
            await lock.aio.release()

    run(work())
    assert site.names == []


async def _held_by(lock: Lock) -> Hold | None:
    return lock.hold


def test_a_coroutine_waits_no_longer_than_it_said() -> None:
    """Although it asks as seldom as every minute."""
    site = Site.real()
    lock = Lock("door", scheduler=site.process(), retry_interval=60)

    async def work() -> float:
        async with lock:
            began = asyncio.get_running_loop().time()
            assert await asyncio.create_task(lock.aio.acquire(timeout=0.05)) is None
            return asyncio.get_running_loop().time() - began

    assert 0.05 <= run(work()) < DEADLINE_S


def test_waiting_for_it_does_not_block_the_loop(site: Site) -> None:
    """Nor does a store that stands still."""
    lock = Lock("door", scheduler=site.process())
    standing, go = threading.Event(), threading.Event()

    def stand(step: str, _: str) -> None:
        standing.set()
        assert go.wait(DEADLINE_S)

    site.store.during = stand

    async def work() -> None:
        async with lock:
            assert go.is_set()

    async def both() -> None:
        task = asyncio.create_task(work())
        await becoming(standing.is_set)
        go.set()
        await task

    run(both())
    assert site.names == []


class Standing:
    """A store that stands still in the middle of its steps, until it is told to go on."""

    def __init__(self, site: Site, step: str) -> None:
        self._step = step
        self.stands, self.go = threading.Event(), threading.Event()
        site.store.during = self._during

    def _during(self, step: str, _: str) -> None:
        if step == self._step:
            self.stands.set()
            assert self.go.wait(DEADLINE_S)

    async def reached(self) -> None:
        await becoming(self.stands.is_set)


async def _hold(lock: Lock, inside: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with lock:
        await inside()


async def _nothing() -> None: ...


async def _for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("fault", [None, Fault.AFTER])
@pytest.mark.parametrize("cancels", [1, 3])
def test_cancelled_while_it_is_given_it_is_given_back(
    site: Site, cancels: int, fault: Fault | None
) -> None:
    """At this moment nobody knows whether it was given; and a second cancel changes nothing."""
    lock = Lock("trapdoor", scheduler=site.process())
    site.store.faults["acquire"].extend([fault, fault])

    async def work() -> None:
        standing = Standing(site, "acquire")
        task = asyncio.create_task(_hold(lock, _nothing))
        await standing.reached()
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)  # noqa: TID251  a turn of the loop
        assert not task.done()
        standing.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())
    assert site.names == []
    assert lock._holds == {}  # noqa: SLF001  or it would be renewed for ever
    until(lambda: not is_renewed("trapdoor"), "nobody renews it")


def test_cancelled_while_it_waits_it_has_nothing(site: Site) -> None:
    lock = Lock("door", scheduler=site.process(), retry_interval=60)

    async def work() -> None:
        async with lock:
            task = asyncio.create_task(_hold(lock, _nothing))
            await becoming(lambda: len(site.store.wanted) == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert site.names == ["door"]

    run(work())
    assert site.names == []


def test_cancelled_inside_it_is_given_back(site: Site) -> None:
    lock = Lock("door", scheduler=site.process())

    async def work() -> None:
        inside = asyncio.Event()

        async def hold_on() -> None:
            inside.set()
            await _for_ever()

        task = asyncio.create_task(_hold(lock, hold_on))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())
    assert site.names == []


@pytest.mark.parametrize("lost", [False, True])
def test_cancelled_while_it_is_given_back_it_is_given_back(
    site: Site,
    clock: ManualClock,
    lost: bool,
) -> None:
    lock = Lock("door", lease=30, scheduler=site.process())

    async def lose() -> None:
        if lost:
            clock.advance(seconds=30)

    async def work() -> None:
        standing = Standing(site, "renew")
        task = asyncio.create_task(_hold(lock, lose))
        await standing.reached()
        task.cancel()
        await asyncio.sleep(0)  # noqa: TID251  a turn of the loop
        assert not task.done()
        standing.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()  # what nobody looked at is told of then

    run(work())
    assert site.names == []


def test_a_loop_that_ends_leaves_nothing_held(site: Site) -> None:
    """`asyncio.run` cancels all tasks at its end, also the ones that would tidy up."""
    lock = Lock("door", scheduler=site.process())
    standing = Standing(site, "acquire")

    async def work() -> None:
        task = asyncio.create_task(_hold(lock, _for_ever))
        await standing.reached()
        assert not task.done()
        asyncio.get_running_loop().call_later(0.01, standing.go.set)

    asyncio.run(work())
    assert site.names == []
    assert lock._holds == {}  # noqa: SLF001  or it would be renewed for ever


def test_a_time_out_around_it_is_a_time_out(site: Site) -> None:
    """What the store says when the caller has gone is not for him."""
    lock = Lock("door", scheduler=site.process())
    standing = Standing(site, "acquire")
    site.store.faults["acquire"].extend([Fault.AFTER, Fault.BEFORE])

    async def work() -> None:
        asyncio.get_running_loop().call_later(0.05, standing.go.set)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), lock:
                pytest.fail("it was taken")

    run(work())
    assert site.names == []


# --- where it belongs ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", "x" * 192, "a\0b", "\ud800", 7, None])
def test_names_that_are_none_are_refused(name: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"must be a text of 1 to 191 characters"):
        Lock(name)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "5"])
@pytest.mark.parametrize("option", ["lease", "retry_interval"])
def test_times_that_are_none_are_refused(option: str, seconds: Any) -> None:
    with pytest.raises(InvalidInputError) as raised:
        Lock("door", **{option: seconds})
    assert str(raised.value) == f"{option}={seconds!r} must be a number of seconds greater than 0"


def test_a_lock_without_a_scheduler_says_what_to_do() -> None:
    with pytest.raises(SchedulerStateError, match="make it with scheduler="):
        Lock("door").acquire()


def test_a_scheduler_that_is_not_connected_says_what_to_do() -> None:
    with pytest.raises(SchedulerStateError, match="connect\\(\\) it to use locks"):
        Lock("door", scheduler=Scheduler()).acquire()


def test_a_store_that_is_not_there_is_told() -> None:
    with Scheduler().connect() as scheduler:
        lock = Lock("door", scheduler=scheduler, store="other")
        with pytest.raises(TaskConfigurationError, match="there is no store 'other'"):
            lock.acquire()


def test_one_that_was_made_for_a_scheduler_stays_there(site: Site) -> None:
    mine, other = site.process(), site.process()
    lock = Lock("door", scheduler=mine)
    lock.belong_to(other)
    assert lock.place is mine.at


def test_one_that_was_made_for_none_belongs_to_those_that_name_it(site: Site) -> None:
    """Made once, at the top of a module, it serves one scheduler after the other."""
    lock = Lock("door")
    first, second = site.process(), site.process()
    for scheduler in (first, second, second):
        lock.belong_to(scheduler)
    assert lock.place is first.at
    first.connected = False
    assert lock.place is second.at
    second.connected = False
    with pytest.raises(SchedulerStateError):
        _ = lock.place
    second.connected = True
    del first
    gc.collect()
    assert lock.place is second.at


def test_locks_of_a_scheduler_are_kept_in_the_store_that_they_name(clock: ManualClock) -> None:
    stores = {"default": "memory://", "other": "memory://"}
    scheduler = Scheduler(stores=stores, clock=clock)
    with scheduler.connect(), Lock("door", scheduler=scheduler, store="other"):
        assert [lock.name for lock in scheduler.locks_at("other").store.locks()] == ["door"]
        assert scheduler.locks_at("default").store.locks() == []
        assert Lock("door", scheduler=scheduler).acquire(blocking=False) is not None


FORK = """if True:
    import os, sys
    from tickwork import Scheduler
    from tickwork.coordination import Lock, LeaderElection
    from tickwork.errors import LockLostError, SchedulerStateError

    scheduler = Scheduler(f"sqlite:///{sys.argv[1]}").connect()
    lock = Lock("door", scheduler=scheduler)
    election = LeaderElection("lead", scheduler=scheduler)
    election.start()
    assert election.wait(20)
    hold = lock.acquire()
    # The very moment in which a thread of the parent renews it:
    hold._lock.acquire()
    child = os.fork()
    if child == 0:
        assert not hold.held and hold.lost and lock.hold is None
        assert not hold.release() and not hold.renew()
        try:
            lock.acquire(blocking=False)
        except SchedulerStateError:
            pass
        else:
            os._exit(1)
        assert not election.is_leader
        election.stop()
        scheduler.connect()
        assert lock.acquire(blocking=False) is None, "it is the parent's"
        hold.release()
        scheduler.close()
        os._exit(0)
    hold._lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert hold.held and lock.hold is hold and election.is_leader
    assert {each.name for each in scheduler.locks_at().store.locks()} == {"door", "leader:lead"}
    lock.release()
    election.stop()
    assert scheduler.locks_at().store.locks() == []
    print("done")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")
def test_a_forked_child_has_nothing_of_what_its_parent_has(tmp_path: Any) -> None:
    # In a process of its own: whoever forks must know all threads there.
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "tasks.db")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("done\n", "")


def test_time_goes_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the machine is set back and forth; a hold is as old as before."""
    leap = [0]
    real = SystemClock()

    class Leaping(SystemClock):
        def now_us(self) -> int:
            return real.now_us() + leap[0]

    scheduler = Scheduler(clock=Leaping())
    with scheduler.connect(), Lock("door", lease=60, scheduler=scheduler) as hold:
        place = scheduler.locks_at()
        for hours in (-5, 5, 0):
            before_us = place.now_us()
            leap[0] = hours * 3_600_000_000
            assert 0 <= place.now_us() - before_us < 30_000_000
            assert hold.held
