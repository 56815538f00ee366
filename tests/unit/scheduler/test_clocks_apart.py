"""Due is judged by the store's clock, whatever the clocks of the processes say."""

import logging
from datetime import timedelta

import pytest

from tests.unit.scheduler import jobs
from tickwork import events
from tickwork.model.instants import SECOND, us_of
from tickwork.scheduler.store_clock import StoreClock
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler

APART = timedelta(minutes=5)


class Served(MemoryStore):
    """A memory store with a server, whose clock differs from the one here."""

    def __init__(self, clock: ManualClock, apart: timedelta) -> None:
        super().__init__()
        self._here = clock
        self.apart_us = us_of(apart)

    def now_us(self) -> int:
        return self._here.now_us() + self.apart_us

    def _now_us(self) -> int:
        return self.now_us()


class Drifting(ManualClock):
    """A clock that moves on by a second at each reading."""

    def now_us(self) -> int:
        self.set(super().now_us() + SECOND)
        return super().now_us()


def scheduler(apart: timedelta) -> SteppedScheduler:
    clock = ManualClock()
    return SteppedScheduler(Served(clock, apart), clock=clock)


@pytest.mark.parametrize("apart", [-APART, APART])
def test_a_task_fires_when_the_store_says_so(apart: timedelta) -> None:
    with scheduler(apart) as mine:
        expected = mine.clock.now() + apart + timedelta(minutes=1)
        task = mine.add_task(jobs.note, "interval", minutes=1)
        assert task.snapshot().next_run_time == expected
        mine.advance(seconds=59)
        assert mine.get_runs() == []
        mine.advance(seconds=1)
        [run] = mine.get_runs()
        assert (run.fire_time, run.created_at, run.started_at) == (expected,) * 3
        assert (run.completed_at, run.lateness) == (expected, 0.0)


def test_the_first_look_goes_by_the_stores_clock_already() -> None:
    clock = ManualClock()
    store = Served(clock, -APART)
    with SteppedScheduler(store, clock=clock).connect() as client:
        task = client.add_task(jobs.note, "interval", minutes=1)
        with SteppedScheduler(store, clock=clock) as mine:
            mine.step()
            assert mine.get_runs() == []
            mine.advance(minutes=1)
            assert [run.task_id for run in mine.get_runs()] == [task.id]


@pytest.mark.parametrize("apart", [-APART, APART])
def test_a_node_shows_how_far_apart_it_is(
    apart: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tickwork.clock"), scheduler(apart) as mine:
        mine.step()
        offsets = [node.clock_offset for node in mine.nodes() if node.store == "default"]
    assert offsets == [apart.total_seconds()]
    [said] = [record.getMessage() for record in caplog.records]
    assert f"{-apart.total_seconds():+.3f} s" in said


def test_what_a_measurement_cannot_tell_from_none_is_none() -> None:
    drifting = Drifting()
    clock = StoreClock(drifting, Served(drifting, timedelta(seconds=1)), "s")
    clock.measure()
    assert clock.offset_us == 0
    clock = StoreClock(drifting, Served(drifting, APART), "s")
    clock.measure()
    assert clock.offset_us == us_of(APART)


def test_events_tell_the_time_of_the_store() -> None:
    with scheduler(APART) as mine:
        told: list[events.RunCompleted] = []
        mine.on(events.RunCompleted, told.append)
        mine.add_task(jobs.note, "interval", minutes=1)
        mine.advance(minutes=1)
        there = mine.clock.now() + APART
    assert [event.at for event in told] == [there]


class Slow(Served):
    """One whose server takes its time for an answer, before it reads its clock or after."""

    before = after = timedelta(0)

    def now_us(self) -> int:
        self._here.advance(self.before)
        now_us = super().now_us()
        self._here.advance(self.after)
        return now_us


def test_measurements_narrow_each_other_down() -> None:
    here = ManualClock()
    server = Slow(here, APART)
    clock = StoreClock(here, server, "s")
    second = timedelta(seconds=1)
    server.before = second
    clock.measure()
    assert clock.offset_us == us_of(APART) + SECOND // 2
    server.before, server.after = timedelta(0), second
    clock.measure()
    # After a second, both clocks may have drifted by a tenth of a millisecond.
    assert abs(clock.offset_us - us_of(APART)) <= 100
    server.before, server.after = second, timedelta(0)
    clock.measure()
    assert abs(clock.offset_us - us_of(APART)) <= 100
    here.advance(timedelta(days=1))
    clock.measure()
    assert us_of(APART) <= clock.offset_us <= us_of(APART) + SECOND // 2


def test_a_clock_that_was_set_is_noticed_at_once() -> None:
    here = ManualClock()
    server = Slow(here, APART)
    clock = StoreClock(here, server, "s")
    clock.measure()
    server.apart_us = us_of(2 * APART)
    clock.measure()
    assert clock.offset_us == us_of(2 * APART)
