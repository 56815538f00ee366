"""What it costs to plan 1,000 due tasks among many that aren't due: of the store alone, in ms.

The store is asked as a scheduler asks it, and the decision costs nothing. Tasks are due in batches,
each at an instant of its own and spread over all that is stored, as in life. The batches are
planned among a hundredth of the tasks; then the others are added and as many batches planned again.
The clock is a simulated one, so that it is known what is due. Nobody tells the database to look at
its tables: its own habits must do.
"""

import statistics
import time
from typing import Any

from bench.contenders import Setup
from bench.contenders.tickwork import store_of
from bench.spec import Spec
from bench.workloads.stage import fresh_store
from bench.workloads.stocking import LATER_US, Stock, stock
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Plan
from tickwork.testing.store_contract.bench import MINUTE, Bench, pending

__all__ = ["measure"]

_WARMING = 2
_BATCHES = _WARMING + 6


def measure(spec: Spec) -> dict[str, Any]:
    """Return milliseconds a batch among few tasks and among many, and the ratio of them."""
    few, size = spec.count // 100, spec.count // 1_000
    with fresh_store(spec) as setup:
        store = store_of(setup)
        bench = Bench(store, store)
        bench.open()
        few_ms = _planned_ms(bench, setup, Stock("few", few, _BATCHES, size))
        many_ms = _planned_ms(bench, setup, Stock("many", spec.count - few, _BATCHES, size))
        stored = sum(bench.reader.counts().values())
        bench.close()
    assert stored == spec.count, f"{stored} tasks are stored instead of {spec.count}"
    return {"few_ms": few_ms, "many_ms": many_ms, "ratio": many_ms / few_ms}


def _planned_ms(bench: Bench, setup: Setup, lot: Stock) -> float:
    """Store tasks, plan the batches, each when it is due, and return the median of what it took."""
    stock(bench.store, setup, lot, bench.now_us)
    took_ms = []
    for _ in range(lot.batches):
        bench.now_us += MINUTE
        request = bench.plan_request(_moves_on, limit=lot.size)
        since = time.perf_counter()
        reply = bench.store.plan(request)
        took_ms.append(1_000 * (time.perf_counter() - since))
        assert len(reply.leased) == lot.size, f"{len(reply.leased)} runs instead of {lot.size}"
    return statistics.median(took_ms[_WARMING:])


def _moves_on(task: TaskRecord) -> Plan:
    assert task.fire_us is not None
    later_us = task.fire_us + 2 * LATER_US
    run = pending(task.fire_us)
    return Plan([run], ScheduleState.SCHEDULED, later_us, later_us, task.fire_us)
