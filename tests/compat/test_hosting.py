"""Schedulers that live with a program, an event loop, or something of their own."""

import asyncio
import threading

import pytest

from tickwork import Scheduler
from tickwork.compat.hosting import start_with_loop, stop_from_inside, until_stopped
from tickwork.errors import SchedulerStateError
from tickwork.events import SchedulerStopped

WAIT_S = 20


def test_a_block_that_starts_it_ends_when_it_has_stopped() -> None:
    scheduler = Scheduler()
    started = threading.Event()

    def main() -> None:
        with until_stopped(scheduler):
            scheduler.start()
            started.set()

    program = threading.Thread(target=main)
    program.start()
    assert started.wait(WAIT_S)
    scheduler.stop()
    program.join(WAIT_S)
    assert (program.is_alive(), scheduler.state) == (False, "new")


def test_a_block_that_fails_to_start_it_leaves_it_as_it_is() -> None:
    with Scheduler() as scheduler:
        with pytest.raises(SchedulerStateError, match="started already"), until_stopped(scheduler):
            scheduler.start()
        assert scheduler.state == "started"


def test_it_starts_once_with_a_loop_and_stops_with_it() -> None:
    scheduler = Scheduler()

    async def main() -> list[bool]:
        begun = await asyncio.gather(*(start_with_loop(scheduler) for _ in range(3)))
        assert scheduler.state == "started"
        assert await start_with_loop(scheduler) is None
        return sorted(each is not None for each in begun)

    assert asyncio.run(main()) == [False, False, True]
    assert scheduler.state == "new"


def test_it_stops_from_inside_in_a_thread_of_its_own() -> None:
    scheduler = Scheduler()
    stopped = threading.Event()
    reports = []
    scheduler.on(SchedulerStopped, lambda _: stopped.set())
    scheduler.start()
    scheduler.submit(lambda: reports.append(stop_from_inside(scheduler)))
    assert stopped.wait(WAIT_S)
    assert [report.clean for report in reports] == [True]
    # The stop that was heard of closes its stores after that.
    assert stop_from_inside(scheduler).clean
    assert scheduler.state == "new"
