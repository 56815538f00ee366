"""One-second tasks on a store that nobody worked on for a month: how long until all is made up?

The tasks were added a month ago (by a clock that is put back), and end now: with the default, each
becomes one run that stands for all its fire times. The clock starts when the scheduler is resumed,
and stops when the last record is written; the fire times that the records account for are counted.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.contenders import Setup
from bench.contenders.tickwork import Tickwork, store_of
from bench.spec import Spec
from bench.work import noop_coroutine
from bench.workloads.stage import fresh_store, on_stage
from tickwork import Scheduler
from tickwork.model.policies import RunState
from tickwork.model.steps import RunQuery
from tickwork.testing import ManualClock

__all__ = ["measure"]

_FIRES = 30 * 86_400
_BULK = 5_000
_TIMEOUT_S = 120.0


def measure(spec: Spec) -> dict[str, Any]:
    """Return the seconds until the last record, and how many fire times the records stand for."""
    with fresh_store(spec) as setup:
        _stop_a_month_ago(spec, setup)
        return on_stage(
            spec,
            lambda made: _begin(made, spec, setup),
            lambda made, since: _end(made, spec, since),
        )


def _stop_a_month_ago(spec: Spec, setup: Setup) -> None:
    end = datetime.now(UTC)
    begin = end - timedelta(seconds=_FIRES)
    clock = ManualClock(begin)
    scheduler = Scheduler(store_of(setup), clock=clock)
    scheduler.connect()
    secondly = {"fn": noop_coroutine, "trigger": "interval", "seconds": 1}
    times = {"start_at": begin + timedelta(seconds=1), "end_at": end}
    for some in range(0, spec.count, _BULK):
        scheduler.add_tasks(
            {**secondly, **times, "id": f"secondly-{number}"}
            for number in range(some, min(some + _BULK, spec.count))
        )
    scheduler.stop()


def _begin(made: Any, spec: Spec, setup: Setup) -> float:
    made.open(setup)
    made.written.wanted = spec.count
    since = time.perf_counter()
    made.resume()
    return since


def _end(made: Any, spec: Spec, since: float) -> dict[str, Any]:
    written_at = made.settle(spec.count, _TIMEOUT_S)
    fires = _accounted(made, spec.count)
    made.close()
    if fires != spec.count * _FIRES:
        raise AssertionError(f"{fires:,} fire times instead of {spec.count * _FIRES:,}")
    return {"caught_up_s": written_at - since, "fires": fires}


def _accounted(made: Tickwork, count: int) -> int:
    completed = frozenset({RunState.COMPLETED})
    runs = made.store.find_runs(RunQuery(states=completed, limit=count + 1))
    return sum(run.fire_count for run in runs)
