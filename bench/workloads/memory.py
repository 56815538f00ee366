"""Memory for each stored task and for each run in flight, in bytes: what the process grew by.

The tasks are hourly ones, in memory. The runs are those of as many one-shot tasks; each waits in
its function until all have begun. What the tasks took before is not counted again.
"""

import gc
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.contenders import Contender, Setup
from bench.spec import Spec
from bench.work import GATE, GOAL, noop_coroutine, waiting_coroutine
from bench.workloads.stage import fresh_store, on_stage

__all__ = ["measure"]

_TIMEOUT_S = 60.0
_STATM = Path("/proc/self/statm")


def measure(spec: Spec) -> dict[str, Any]:
    """Return bytes for each task, or, with `bulk`, for each run in flight."""
    with fresh_store(spec) as setup:
        if not spec.bulk:
            return on_stage(spec, lambda made: _begin_tasks(made, spec, setup), _end_tasks)
        return on_stage(
            spec,
            lambda made: _begin_runs(made, spec, setup),
            lambda made, before: _end_runs(made, spec, before),
        )


def _begin_tasks(made: Contender, spec: Spec, setup: Setup) -> float:
    made.open(setup)
    # Whatever is made once is made now.
    made.add_once(noop_coroutine, 100, datetime.now(UTC) + timedelta(days=1))
    before = _bytes()
    made.add_hourly(noop_coroutine, spec.count, bulk=spec.contender == "tickwork")
    return (_bytes() - before) / spec.count


def _end_tasks(made: Contender, grown: float) -> dict[str, Any]:
    made.close()
    return {"task_bytes": grown}


def _begin_runs(made: Contender, spec: Spec, setup: Setup) -> int:
    made.open(setup)
    GOAL.want(spec.count)
    made.add_once(waiting_coroutine, spec.count, datetime.now(UTC) - timedelta(seconds=1))
    before = _bytes()
    made.resume()
    return before


def _end_runs(made: Contender, spec: Spec, before: int) -> dict[str, Any]:
    if not GOAL.wait(_TIMEOUT_S):
        raise TimeoutError(f"{GOAL.made()} of {spec.count} runs are in flight")
    time.sleep(0.2)
    grown = (_bytes() - before) / spec.count
    GATE.open()
    made.settle(spec.count, _TIMEOUT_S)
    time.sleep(0.2)
    made.close()
    return {"run_bytes": grown}


def _bytes() -> int:
    gc.collect()
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
