"""One-second tasks for a while, their phases spread evenly: who is on time?

Each task should be called once in each of its seconds. A call is on time within 50 ms, 100 ms or a
second of its instant; a second without a call (skipped, folded into a later one, too late) isn't.
Among many stored tasks (`place`) all others are due much later.

As for bursts, what adding has left behind is collected before: whether that fell into the few
seconds that are looked at was chance otherwise.
"""

import gc
import time
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.contenders import Contender, Kind, Setup
from bench.spec import Spec
from bench.work import STAMPS, stamp_coroutine
from bench.workloads.stage import on_stage, stage_store

__all__ = ["measure"]

_LIMITS_S = {"within_50_ms": 0.05, "within_100_ms": 0.1, "within_1_s": 1.0}
_ROUNDED_S = 0.000_01
_ADDS_PER_S: Mapping[Kind, Mapping[str, float]] = {
    "memory": {"tickwork": 12_000, "apscheduler": 8_000, "asyncz": 4_000, "apscheduler4": 800},
    "sqlite": {"tickwork": 8_000, "apscheduler": 700, "asyncz": 500, "apscheduler4": 60},
    "postgresql": {"tickwork": 6_000, "apscheduler": 500, "asyncz": 400, "apscheduler4": 60},
    "redis": {"tickwork": 8_000, "apscheduler": 1_200, "asyncz": 1_000},
}
"""How many tasks each adds at least, half of what was seen; nobody begins before all are there."""

_FAST = 50_000.0
_QUIET_S = 0.3
_QUIET_WITHIN_S = 5.0


def measure(spec: Spec) -> dict[str, Any]:
    """Return percent on time for each limit, percent called, and the lateness in milliseconds."""
    with stage_store(spec) as setup:
        return on_stage(
            spec,
            lambda made: _begin(made, spec, setup),
            lambda made, start: _end(made, spec, start),
        )


def _begin(made: Contender, spec: Spec, setup: Setup) -> datetime:
    made.open(setup)
    adding_s = spec.count / _ADDS_PER_S[spec.store].get(spec.contender, _FAST)
    start = datetime.now(UTC) + timedelta(seconds=1 + adding_s)
    # They end: what is left of them must not disturb who is measured after us on the same store.
    end = start + timedelta(seconds=spec.seconds + 1)
    made.add_secondly(stamp_coroutine, spec.count, start, end)
    gc.collect()
    made.resume()
    if datetime.now(UTC) > start:
        raise TimeoutError("adding the tasks took longer than was allowed for")
    return start


def _end(made: Contender, spec: Spec, start: datetime) -> dict[str, Any]:
    time.sleep((start - datetime.now(UTC)).total_seconds() + spec.seconds + 1)
    numbers, times = list(STAMPS[0]), list(STAMPS[1])
    _wait_for_quiet()
    made.close()
    return _figures(spec, start.timestamp() - _ROUNDED_S, numbers, times)


def _wait_for_quiet() -> None:
    """Wait until nothing is called any more, but not for ever."""
    deadline = time.monotonic() + _QUIET_WITHIN_S
    seen = -1
    while seen != len(STAMPS[0]) and time.monotonic() < deadline:
        seen = len(STAMPS[0])
        time.sleep(_QUIET_S)


def _figures(spec: Spec, begun: float, numbers: list[int], times: list[float]) -> dict[str, Any]:
    first: dict[tuple[int, int], float] = {}
    for number, at in zip(numbers, times, strict=False):
        second, late_s = divmod(at - begun - number / spec.count, 1)
        if 0 <= second < spec.seconds:
            # Of several calls in one second the first counts.
            slot = (number, int(second))
            first[slot] = min(late_s, first.get(slot, late_s))
    slots = spec.count * spec.seconds
    late = sorted(first.values())
    percent = {name: 100 * bisect_right(late, limit) / slots for name, limit in _LIMITS_S.items()}
    # Who wasn't called at all is later than everybody else.
    late += [float(spec.seconds)] * (slots - len(late))
    return percent | {
        "late_p50_ms": 1_000 * late[slots // 2],
        "late_p99_ms": 1_000 * late[slots * 99 // 100],
    }
