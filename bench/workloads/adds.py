"""Adding recurring tasks to a started scheduler: tasks a second, each stored when the call returns.

One by one, or (`bulk`) in steps of thousands where there is such a thing. Nothing is due meanwhile.
To queues, which don't store recurring tasks, jobs are added for an hour later, with no worker near.
"""

import time
from typing import Any

from bench.contenders import QUEUES, Contender, Setup
from bench.spec import Spec
from bench.work import noop_coroutine, noop_function
from bench.workloads.stage import fresh_store, on_stage

__all__ = ["measure"]


def measure(spec: Spec) -> dict[str, Any]:
    """Return tasks added a second."""
    with fresh_store(spec) as setup:
        return on_stage(
            spec, lambda made: _add(made, spec, setup), lambda made, s: _end(made, spec, s)
        )


def _add(made: Contender, spec: Spec, setup: Setup) -> float:
    made.open(setup)
    if spec.contender not in QUEUES:
        made.resume()
    function = noop_coroutine if spec.work == "coroutine" else noop_function
    started_at = time.perf_counter()
    made.add_hourly(function, spec.count, bulk=spec.bulk)
    return time.perf_counter() - started_at


def _end(made: Contender, spec: Spec, seconds: float) -> dict[str, Any]:
    if (stored := made.stored()) != spec.count:
        raise AssertionError(f"{stored} tasks are stored, {spec.count} were added")
    made.close()
    return {"per_s": spec.count / seconds}
