"""A node that stood still for longer than its lease starts nothing that may be others' by now."""

from datetime import timedelta

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.standing import Standing
from tickwork.model.instants import to_us
from tickwork.model.steps import RunQuery
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler

LEASE = timedelta(seconds=30)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    jobs.calls.clear()


def scheduler(store: MemoryStore, clock: ManualClock) -> tuple[SteppedScheduler, Standing]:
    standing = Standing()
    mine = SteppedScheduler(store, clock=clock, executors={"threadpool": standing})
    mine.patience_s = 0.01
    return mine, standing


def tick(mine: SteppedScheduler) -> None:
    for loop in mine._loops():  # noqa: SLF001  runs that stand in a queue are no end of an instant
        loop.tick()


def test_a_late_node_starts_what_it_holds_only_after_it_is_known_to_live() -> None:
    clock = ManualClock()
    mine, standing = scheduler(MemoryStore(), clock)
    with mine:
        mine.add_task(jobs.note)
        tick(mine)
        assert len(standing.queue) == 1
        clock.advance(LEASE)
        standing.go()
        assert jobs.calls == []
        for _ in range(3):
            tick(mine)
        standing.go()
        tick(mine)
        assert jobs.calls == [()]
        [run] = mine.get_runs()
        assert (run.status, run.attempt) == ("completed", 1)


def test_a_late_node_leaves_what_others_have_taken_over() -> None:
    clock, store = ManualClock(), MemoryStore()
    mine, standing = scheduler(store, clock)
    other, working = scheduler(store, clock)
    with mine, other:
        mine.add_task(jobs.note)
        tick(mine)
        clock.advance(LEASE)
        for _ in range(3):
            tick(other)
        working.go()
        standing.go()
        for _ in range(3):
            tick(mine)
            tick(other)
        assert jobs.calls == [()]
        [run] = mine.get_runs()
        assert (run.status, run.attempt, run.crashes) == ("completed", 2, 0)
        assert len([node for node in mine.nodes() if node.store == "default"]) == 2


def test_a_node_in_time_starts_what_it_holds() -> None:
    clock = ManualClock()
    mine, standing = scheduler(MemoryStore(), clock)
    with mine:
        mine.add_task(jobs.note)
        tick(mine)
        clock.advance(LEASE - timedelta(microseconds=1))
        standing.go()
        assert jobs.calls == [()]
        tick(mine)


def test_a_start_is_written_down_once_the_run_has_taken_a_tenth_of_a_second() -> None:
    clock, store = ManualClock(), MemoryStore()
    mine, standing = scheduler(store, clock)
    with mine:
        mine.add_task(jobs.note)
        tick(mine)
        clock.advance(seconds=0.09)
        standing.begin()
        began_at = clock.now()
        seen = []
        # It was received longer ago than that, but has only just begun.
        for passed_s in (0.02, 0.1):
            clock.advance(seconds=passed_s)
            tick(mine)
            [run] = store.find_runs(RunQuery())
            seen.append((run.state, run.started_us))
            [shown] = mine.get_runs()
            assert (shown.status, shown.started_at) == ("running", began_at)
        assert seen == [("pending", None), ("running", to_us(began_at))]
        standing.go()
        tick(mine)
