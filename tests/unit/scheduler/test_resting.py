"""Where fire times follow each other closely, the loop takes several of them together."""

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tickwork import Scheduler
from tickwork.model.instants import from_us
from tickwork.model.jobs import Outcome
from tickwork.model.policies import RunState
from tickwork.scheduler.clock import SystemClock
from tickwork.scheduler.outcomes import dispatcher

COUNT = 500


@pytest.mark.parametrize("rests", [True, False])
def test_a_loop_that_rests_is_not_woken_by_what_it_will_look_at_anyway(rests: bool) -> None:
    holding = SimpleNamespace(inbox=[], wake=threading.Event(), rests=rests)
    job = cast("Any", SimpleNamespace(holding=holding))
    freed: list[int] = []
    dispatcher(freed.append)([Outcome(job, RunState.COMPLETED, 1, 2)] * 2)
    assert (len(holding.inbox), freed, holding.wake.is_set()) == (2, [2], not rests)


def test_all_of_many_that_are_due_within_moments_are_executed_once_and_recorded() -> None:
    calls: list[int] = []
    all_called = threading.Event()

    async def note(number: int) -> None:
        calls.append(number)
        if len(calls) == COUNT:
            all_called.set()

    scheduler = Scheduler("memory://").start()
    first = from_us(SystemClock().now_us()) + timedelta(seconds=0.1)
    scheduler.add_tasks(
        {
            "fn": note,
            "trigger": "date",
            "run_at": first + timedelta(microseconds=100 * number),
            "id": str(number),
            "args": [number],
        }
        for number in range(COUNT)
    )
    assert all_called.wait(20)
    assert scheduler.stop().clean
    with scheduler.connect():
        runs = scheduler.get_runs(limit=2 * COUNT, status="completed")
    assert sorted(calls) == list(range(COUNT))
    assert sorted(int(run.task_id) for run in runs) == list(range(COUNT))
