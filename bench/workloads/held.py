"""How many one-second tasks a scheduler keeps up with: the largest number with 99 % on time.

Each number that is tried has a process, and an empty store, of its own; see `steady`. A number for
which the process fails is too large. One that misses, but isn't hopeless, is tried three times, and
the middle one counts: a moment in which the machine does something else shouldn't decide. The time
for the search is bounded: the page says how close together the largest good and the smallest bad
number came.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.contenders import Kind
from bench.searching import largest, next_number
from bench.spec import Spec
from bench.workloads.stage import ChildFailedError, in_child

__all__ = ["measure", "searched"]

_WANTED_PERCENT = 99.0
_HOPELESS_PERCENT = 10.0
_FIRST: Mapping[Kind, Mapping[str, int]] = {
    "memory": {
        "tickwork": 25_000,
        "apscheduler": 9_000,
        "asyncz": 4_000,
        "floor": 50_000,
        "apscheduler4": 700,
    },
    "sqlite": {"tickwork": 2_000, "apscheduler": 900, "asyncz": 800},
    "postgresql": {"tickwork": 2_000, "apscheduler": 600, "asyncz": 100},
    "redis": {"tickwork": 4_000, "apscheduler": 1_500, "asyncz": 1_000},
}
_FIRST_ELSE = {"bare": 10_000, "apscheduler4": 60}
"""Where the search begins: near to what was found before, which saves steps."""

_BUDGET = {"tickwork": 28}
_BUDGET_ELSE = 16
"""How many times as long as one number is looked at a search may take."""


def measure(spec: Spec) -> dict[str, Any]:
    """Return the largest numbers with 99 % within 50 ms and within a second."""
    return searched(spec, ("within_50_ms", "within_1_s"))


def searched(spec: Spec, limits: tuple[str, ...]) -> dict[str, Any]:
    """Return the largest numbers under some limits, and what each step came to."""
    tried: dict[int, dict[str, Any]] = {}
    found: dict[str, Any] = {}
    first = _FIRST[spec.store].get(spec.contender) or _FIRST_ELSE[spec.contender]
    since, budget_s = time.perf_counter(), _BUDGET.get(spec.contender, _BUDGET_ELSE) * spec.seconds
    for share, limit in enumerate(limits, start=1):
        while (number := next_number(_well(tried, limit), first)) is not None:
            # Who holds nothing yet may use the time of all limits.
            part = share / len(limits) if largest(_well(tried, limit)) else 1
            if tried and time.perf_counter() - since > budget_s * part:
                break
            tried[number] = _tried(spec, number, limit)
        found |= _held(tried, limit)
    return found | {"steps": {str(number): step for number, step in tried.items()}}


def _tried(spec: Spec, number: int, limit: str) -> dict[str, Any]:
    steps = [_step(spec, number)]
    if _HOPELESS_PERCENT <= steps[0].get(limit, 0.0) < _WANTED_PERCENT:
        steps += [_step(spec, number) for _ in range(2)]
    return sorted(steps, key=lambda step: step.get(limit, 0.0))[len(steps) // 2]


def _step(spec: Spec, number: int) -> dict[str, Any]:
    try:
        return in_child(replace(spec, workload="steady", count=number))
    except ChildFailedError as error:
        return {"failed": str(error)}


def _well(tried: Mapping[int, Mapping[str, Any]], limit: str) -> dict[int, bool]:
    return {number: step.get(limit, 0.0) >= _WANTED_PERCENT for number, step in tried.items()}


def _held(tried: Mapping[int, Mapping[str, Any]], limit: str) -> dict[str, Any]:
    well = _well(tried, limit)
    held = largest(well)
    if held == 0:
        failures = [step["failed"] for step in tried.values() if "failed" in step]
        if len(failures) == len(tried):
            raise ChildFailedError(failures[0])
        return {f"held_{limit}": 0}
    return {
        f"held_{limit}": held,
        f"missed_{limit}": min((number for number, good in well.items() if not good), default=None),
        f"late_p50_ms_{limit}": tried[held]["late_p50_ms"],
        f"late_p99_ms_{limit}": tried[held]["late_p99_ms"],
    }
