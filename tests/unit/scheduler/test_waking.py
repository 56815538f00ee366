"""Which new tasks wake a loop that waits: those that it wouldn't see in time."""

from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home, tick
from tickwork import Scheduler
from tickwork.model.instants import NEVER_US, SECOND
from tickwork.scheduler.loop import StoreLoop

MINUTE_US = 60 * SECOND
_IN_A_MINUTE: dict[str, Any] = {"trigger": "interval", "minutes": 1}


def waiting(scheduler: Scheduler, for_us: int = MINUTE_US) -> StoreLoop:
    """Have the loop look as if it waited, as long as it doesn't wait for ever."""
    assert scheduler._runtime is not None  # noqa: SLF001  what a thread would wait on
    loop = scheduler._runtime.loops["default"]  # noqa: SLF001
    loop.wake.clear()
    loop.looks_again_us = loop.clock.now_us() + for_us
    return loop


@pytest.mark.parametrize(
    ("for_us", "woken"),
    [(MINUTE_US - 1, False), (MINUTE_US, False), (MINUTE_US + 1, True), (NEVER_US, True)],
)
def test_a_new_task_wakes_a_loop_that_would_come_too_late(
    home: Home, for_us: int, woken: bool
) -> None:
    scheduler = home.start()
    loop = waiting(scheduler, for_us)
    scheduler.add_task(jobs.note, **_IN_A_MINUTE)
    assert loop.wake.is_set() == woken


def test_the_first_of_many_counts(home: Home) -> None:
    scheduler = home.start()
    loop = waiting(scheduler)
    for seconds, woken in ([120, 60, 90], False), ([120, 59, 90], True):
        scheduler.add_tasks(
            {"fn": jobs.note, "trigger": "interval", "seconds": each, "id": f"{woken} {each}"}
            for each in seconds
        )
        assert loop.wake.is_set() == woken


def test_a_loop_that_does_something_is_told_to_look_again(home: Home) -> None:
    scheduler = home.start()
    loop = waiting(scheduler)
    loop.looks_again_us = NEVER_US
    scheduler.add_task(jobs.note, **_IN_A_MINUTE)
    assert loop.wake.is_set()


def test_a_paused_loop_looks_when_it_is_resumed(home: Home) -> None:
    scheduler = home.start(paused=True)
    loop = waiting(scheduler)
    scheduler.add_task(jobs.note)
    assert not loop.wake.is_set()
    scheduler.resume()
    assert loop.wake.is_set()


def test_a_task_that_was_there_is_looked_at_at_once(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, id="kept", **_IN_A_MINUTE)
    loop = waiting(scheduler)
    scheduler.add_task(jobs.note, "interval", minutes=5, id="kept", replace_existing=True)
    assert loop.wake.is_set()


def test_what_could_not_be_executed_is_tried_again_at_once(home: Home) -> None:
    scheduler = home.start()
    loop = waiting(scheduler)
    loop._exclusions.add_function("shop:gone", "it is gone", loop.clock.now_us())  # noqa: SLF001
    scheduler.add_task(jobs.note, "shutdown")
    assert loop.wake.is_set()
    # Once: what is known of it is only why.
    loop.wake.clear()
    scheduler.add_task(jobs.note, id="another", **_IN_A_MINUTE)
    assert not loop.wake.is_set()


def test_a_run_at_the_start_is_looked_at_at_once(home: Home) -> None:
    scheduler = home.start()
    loop = waiting(scheduler)
    scheduler.add_task(jobs.note, run_on_startup=True, **_IN_A_MINUTE)
    assert loop.wake.is_set()


def test_a_loop_that_was_too_early_to_ask_for_ends_comes_back_for_it(home: Home) -> None:
    scheduler = home.start()
    loop = waiting(scheduler)
    endings = loop._endings  # noqa: SLF001  what a thread would go by
    scheduler.add_task(jobs.forever)
    begun_us = loop.clock.now_us()
    tick(scheduler)
    assert endings.asks_us() is None
    tick(scheduler)
    assert endings.asks_us() == begun_us + SECOND // 2
    home.clock.advance(seconds=0.5)
    tick(scheduler)
    assert endings.asks_us() is None
