"""Gates as they are in production: in threads, by real clocks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.coordination.places import DEADLINE_S, LocksStore, until
from tests.unit.scheduler import jobs
from tests.unit.scheduler.gated import states
from tickwork import Scheduler, current_run
from tickwork.coordination import LeaderElection, Lock
from tickwork.stores.memory import MemoryStore

# --- in threads ---------------------------------------------------------------------------------


@pytest.fixture
def threaded() -> Iterator[Callable[..., Scheduler]]:
    """Make started schedulers with threads and real time, over one store."""
    store = MemoryStore()
    made: list[Scheduler] = []

    def new(**options: Any) -> Scheduler:
        scheduler = Scheduler(store, **options)
        made.append(scheduler)
        return scheduler.start()

    yield new
    for scheduler in made:
        scheduler.stop(timeout=5)


def test_in_threads_each_interval_is_executed_once(threaded: Callable[..., Scheduler]) -> None:
    done: list[Any] = []
    enough = threading.Event()

    def work() -> None:
        done.append(current_run().fire_time)
        if len(done) >= 10:
            enough.set()

    schedulers = [threaded() for _ in range(4)]
    for scheduler in schedulers:
        scheduler.add_task(work, "interval", seconds=0.05, id="a", max_lock_seconds=60)
    assert enough.wait(DEADLINE_S)
    for scheduler in schedulers:
        scheduler.stop()
    assert len(done) == len(set(done))
    assert done == sorted(done)


def test_in_threads_the_delay_from_the_end_is_kept_exactly(
    threaded: Callable[..., Scheduler],
) -> None:
    """By the end as it was recorded: nothing is refused because somebody looked a little later."""
    done = threading.Semaphore(0)
    scheduler = threaded()
    scheduler.add_task(
        done.release, "interval", seconds=0.05, id="a", max_lock_seconds=60, fixed_delay=True
    )
    for _ in range(8):
        assert done.acquire(timeout=DEADLINE_S)
    scheduler.pause_task("a")
    until(lambda: states(scheduler, status="running") == [], "the last one has ended")
    assert states(scheduler, status="skipped") == []


def test_in_threads_a_stop_in_the_middle_of_a_body_gives_all_back_at_once(
    threaded: Callable[..., Scheduler],
) -> None:
    one, two = threaded(), threaded()
    began = threading.Event()

    async def stand() -> None:
        began.set()
        await asyncio.Event().wait()

    elections = [LeaderElection("lead"), LeaderElection("lead", retry_interval=0.05)]
    options: dict[str, Any] = {"seconds": 0.05, "id": "a", "max_lock_seconds": 600}
    one.add_task(stand, "interval", leader=elections[0], sync=Lock("disk"), **options)
    assert began.wait(DEADLINE_S)
    followed = threading.Event()
    two.add_task(followed.set, "interval", leader=elections[1], sync=Lock("disk"), **options)
    held = [lock.name for lock in two.locks_at().store.locks() if lock.owner]
    assert held == ["disk", "leader:lead", "task:a"]
    report = one.stop(timeout=0.05)
    assert len(report.given_back) == 1
    assert followed.wait(DEADLINE_S)
    assert elections[1].is_leader


def test_in_threads_a_run_that_waits_at_the_gate_is_cancelled_at_once(
    threaded: Callable[..., Scheduler],
) -> None:
    """Although it asks for its resource as seldom as every hour."""
    one = threaded()
    lock = Lock("disk", retry_interval=3_600)
    with Lock("disk", scheduler=one):
        one.add_task(jobs.note, "interval", hours=1, id="a", max_lock_seconds=3_600, sync=lock)
        run = one.run_task("a")
        until(lambda: "task:a" in [each.name for each in one.locks_at().store.locks()], "it waits")
        assert run.cancel()
        assert run.wait(DEADLINE_S).status == "cancelled"
        until(
            lambda: [each.name for each in one.locks_at().store.locks() if each.owner] == ["disk"],
            "its lock is given back",
        )
    assert jobs.calls == []


def test_in_threads_a_store_that_hangs_does_not_keep_a_scheduler_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tickwork.scheduler.gatekeeping._ENDED_WITHIN_S", 0.05)
    store = LocksStore()
    hangs, go = threading.Event(), threading.Event()

    def hang(_: str, name: str) -> None:
        if name == "task:a":
            hangs.set()
            assert go.wait(DEADLINE_S)

    store.during = hang
    scheduler = Scheduler(store).start()
    scheduler.add_task(jobs.note, "interval", seconds=0.05, id="a", max_lock_seconds=60)
    assert hangs.wait(DEADLINE_S)
    report = scheduler.stop(wait=False)
    assert report.still_running == (), "it never began"
    assert "a store of locks doesn't answer; they are left to their leases" in caplog.text
    go.set()
    until(
        lambda: not any(each.name == "tickwork-gates" for each in threading.enumerate()),
        "its thread ends",
    )
    assert jobs.calls == []


def test_in_threads_what_is_to_run_at_the_start_waits_for_the_first_election() -> None:
    """It has only just begun, and its store takes its time."""
    store = LocksStore()
    asked, go = threading.Event(), threading.Event()

    def answer_late(_: str, name: str) -> None:
        if name == "leader:lead":
            asked.set()
            assert go.wait(DEADLINE_S)

    looks: list[bool] = []

    class Watched(LeaderElection):
        @property
        def is_undecided(self) -> bool:
            looks.append(super().is_undecided)
            return looks[-1]

    store.during = answer_late
    scheduler = Scheduler(store)
    scheduler.add_task(
        jobs.note, "interval", hours=1, id="a", leader=Watched("lead"), run_on_startup=True
    )
    with scheduler:
        assert asked.wait(DEADLINE_S)
        until(lambda: len(looks) > 2, "its gate looks again")
        assert (set(looks), states(scheduler)) == ({True}, ["pending"])
        go.set()
        until(lambda: states(scheduler) == ["completed"], "it is executed")
    assert jobs.calls == [()]
