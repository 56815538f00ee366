"""Ends that are written by a thread of their own, while the loop plans."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import Queue
from typing import ClassVar

import pytest

from tests.unit.coordination.places import DEADLINE_S
from tests.unit.scheduler import jobs
from tests.unit.scheduler.standing import Standing
from tickwork.events import RunCompleted, StoreFailed
from tickwork.model.instants import SECOND, to_us
from tickwork.model.jobs import RunError
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Batch, PlanReply, PlanRequest, RecoverRequest
from tickwork.scheduler import planner
from tickwork.scheduler.following import after_run
from tickwork.scheduler.loop import LoopSettings
from tickwork.stores.memory import MemoryStore
from tickwork.testing import Fault, FaultyStore, ManualClock, SteppedScheduler

START = datetime(2026, 1, 1, tzinfo=UTC)


class Overlapping(MemoryStore):
    """A store that writes an end only when it has been asked to plan meanwhile."""

    overlaps: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.planned = threading.Event()
        self.finished_by: list[str] = []
        self.met: list[bool] = []
        self.waits = True

    def plan(self, request: PlanRequest) -> PlanReply:
        reply = super().plan(request)
        self.planned.set()
        return reply

    def finish(self, batch: Batch) -> frozenset[str]:
        if batch.finished:
            self.finished_by.append(threading.current_thread().name)
            if self.waits:
                self.met.append(self.planned.wait(DEADLINE_S))
        return super().finish(batch)


class Site:
    """A scheduler that is ticked by hand, over a store with faults on demand."""

    def __init__(self, aside_from: int = 1) -> None:
        self.inner = Overlapping()
        self.store = FaultyStore(self.inner)
        self.clock = ManualClock(START)
        self.standing = Standing()
        self.scheduler = SteppedScheduler(
            self.store,
            clock=self.clock,
            executors={"threadpool": self.standing},
            settings=LoopSettings(threaded=False, aside_from=aside_from),
        )
        self.scheduler.patience_s = 0.01

    def tick(self) -> int | None:
        """Return when there is more to do."""
        self.inner.planned.clear()
        loops = self.scheduler._loops()  # noqa: SLF001  runs that stand in a queue never end
        instants = [loop.tick() for loop in loops]
        return instants[0]

    def states(self) -> list[str]:
        return sorted(run.status for run in self.scheduler.get_runs())


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    jobs.calls.clear()
    site = Site()
    with site.scheduler:
        yield site


def test_an_end_is_written_while_the_loop_plans(site: Site) -> None:
    site.scheduler.add_task(jobs.note)
    site.tick()
    site.standing.go()
    # What is being written may be locked, and passed over by planning: it looks again at once.
    assert site.tick() == to_us(START)
    assert site.inner.met == [True]
    assert site.inner.finished_by == ["tickwork-finish"]
    assert site.states() == ["completed"]


def test_few_ends_are_written_by_the_loop() -> None:
    site = Site(aside_from=3)
    site.inner.waits = False
    with site.scheduler:
        for _ in range(2):
            site.scheduler.add_task(jobs.note)
        site.tick()
        site.standing.go()
        site.tick()
        assert site.inner.finished_by == [threading.current_thread().name]
        assert site.states() == ["completed", "completed"]


def test_a_run_that_is_just_being_written_as_over_keeps_none_from_starting(site: Site) -> None:
    site.scheduler.add_task(jobs.note, "interval", seconds=1, overlap="skip")
    site.clock.advance(seconds=1)
    site.tick()
    assert len(site.standing.queue) == 1
    site.standing.go()
    site.clock.advance(seconds=1)
    site.tick()
    # Both were to be done in this tick; the store counted the first run while the loop planned.
    assert site.states() == ["completed"]
    assert site.standing.queue == []
    site.tick()
    assert len(site.standing.queue) == 1
    assert site.states() == ["completed", "pending"]
    [task] = site.scheduler.get_tasks()
    assert task.problem is None
    site.standing.go()
    site.tick()


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
def test_an_end_that_fails_to_be_written_is_written_later(site: Site, fault: Fault) -> None:
    told: Queue[str] = Queue()
    site.scheduler.on(StoreFailed, lambda _: told.put("failed"))
    site.scheduler.on(RunCompleted, lambda _: told.put("completed"))
    site.scheduler.add_task(jobs.note)
    site.tick()
    site.standing.go()
    site.store.script("finish", fault)
    site.tick()
    assert told.get(timeout=DEADLINE_S) == "failed"
    site.clock.advance(seconds=1)
    for _ in range(3):
        site.tick()
    assert told.get(timeout=DEADLINE_S) == "completed"
    assert told.empty()
    assert site.states() == ["completed"]
    assert jobs.calls == [()]


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
def test_an_end_is_written_although_planning_fails(site: Site, fault: Fault) -> None:
    site.scheduler.add_task(jobs.note, id="first")
    site.tick()
    site.standing.go()
    site.scheduler.add_task(jobs.note, id="second")
    site.store.script("plan", fault)
    site.inner.waits = False
    site.tick()
    assert site.scheduler.get_runs(task="first")[0].status == "completed"
    site.clock.advance(seconds=1)
    for _ in range(3):
        site.tick()
        site.standing.go()
    site.tick()
    assert site.states() == ["completed", "completed"]
    assert jobs.calls == [(), ()]


def test_both_may_fail_and_nothing_is_lost(site: Site) -> None:
    site.scheduler.add_task(jobs.note, id="first")
    site.tick()
    site.standing.go()
    site.scheduler.add_task(jobs.note, id="second")
    site.store.script("plan", Fault.AFTER)
    site.store.script("finish", Fault.AFTER)
    site.tick()
    site.clock.advance(seconds=1)
    for _ in range(3):
        site.tick()
        site.standing.go()
    site.tick()
    assert site.states() == ["completed", "completed"]
    assert jobs.calls == [(), ()]


@pytest.mark.parametrize("ids", [("ended", "failed"), ("failed", "ended")])
def test_ends_that_come_too_late_concern_none_but_their_own_attempts(
    site: Site, ids: tuple[str, str]
) -> None:
    for task_id in ids:
        site.scheduler.add_task(jobs.note, id=task_id, delivery="at_least_once", retries=3)
    site.tick()
    site.standing.begin()
    site.tick()
    # It stands still; somebody else finds it dead, and takes its runs over.
    site.clock.advance(seconds=60)
    now_us = site.clock.now_us()
    site.inner.beat(NodeRecord(id="other"), SECOND)
    found = site.inner.recover(RecoverRequest("other", now_us, planner.take_over, after_run))
    assert len(found.runs) == 2
    # It goes on, and leases the first of them again while the ends of both attempts are written.
    site.standing.end({"failed": RunError("OSError", "the disk is full", "")})
    while any(run.status != "completed" for run in site.scheduler.get_runs()):
        assert site.tick() is not None
        site.standing.go()
    assert [run.attempt for run in site.scheduler.get_runs()] == [2, 2]
    assert site.inner.met
