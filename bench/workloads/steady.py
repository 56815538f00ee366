"""One-second tasks for a while, their phases spread evenly: who is on time?

Each task should be called once in each of its seconds. A call counts as on time within 50 ms; a
second without a call (skipped, or folded into a later one) isn't. Lateness is that of the calls,
within their second: who is late by more than a second makes fewer calls, which shows.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.contenders import Contender, Kind, Setup
from bench.spec import Spec
from bench.work import STAMPS, stamp_coroutine
from bench.workloads.stage import fresh_store, on_stage

__all__ = ["measure"]

_ON_TIME_S = 0.05
_ROUNDED_S = 0.000_01
_ADDS_PER_S: Mapping[Kind, float] = {
    "memory": 2_000.0,
    "sqlite": 250.0,
    "postgresql": 50.0,
    "redis": 250.0,
    "file": 50.0,
}
"""What the slowest may need to add one by one; nobody begins before all are there."""


def measure(spec: Spec) -> dict[str, Any]:
    """Return percent on time and percent called, and the lateness in milliseconds."""
    with fresh_store(spec) as setup:
        return on_stage(
            spec,
            lambda made: _begin(made, spec, setup),
            lambda made, start: _end(made, spec, start),
        )


def _begin(made: Contender, spec: Spec, setup: Setup) -> datetime:
    made.open(setup)
    start = datetime.now(UTC) + timedelta(seconds=2 + spec.count / _ADDS_PER_S[spec.store])
    made.add_secondly(stamp_coroutine, spec.count, start)
    made.resume()
    if datetime.now(UTC) > start:
        raise TimeoutError("adding the tasks took longer than was allowed for")
    return start


def _end(made: Contender, spec: Spec, start: datetime) -> dict[str, Any]:
    time.sleep((start - datetime.now(UTC)).total_seconds() + spec.seconds + 1)
    numbers, times = list(STAMPS[0]), list(STAMPS[1])
    made.close()
    begun = start.timestamp() - _ROUNDED_S
    late: list[float] = []
    called: set[tuple[int, int]] = set()
    on_time: set[tuple[int, int]] = set()
    for number, at in zip(numbers, times, strict=False):
        second, late_s = divmod(at - begun - number / spec.count, 1)
        slot = (number, int(second))
        if 0 <= second < spec.seconds:
            late.append(late_s)
            called.add(slot)
            if late_s <= _ON_TIME_S:
                on_time.add(slot)
    if not late:
        raise AssertionError("no task was called at all")
    late.sort()
    slots = spec.count * spec.seconds
    return {
        "on_time_percent": 100 * len(on_time) / slots,
        "called_percent": 100 * len(called) / slots,
        "late_p50_ms": 1_000 * late[len(late) // 2],
        "late_p99_ms": 1_000 * late[len(late) * 99 // 100],
    }
