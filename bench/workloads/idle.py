"""What a scheduler costs that has many tasks and nothing to do: share of one processor."""

import time
from typing import Any

from bench.contenders import Contender, Setup
from bench.spec import Spec
from bench.work import GOAL, noop_coroutine, noop_function
from bench.workloads.stage import filled_database, fresh_store, on_stage

__all__ = ["measure"]

_SETTLED_S = 3.0
_TIMEOUT_S = 60.0


def measure(spec: Spec) -> dict[str, Any]:
    """Return percent of one processor."""
    stored = fresh_store(spec) if spec.store == "memory" else filled_database(spec)
    with stored as setup:
        return on_stage(
            spec, lambda made: _begin(made, spec, setup), lambda made, _: _end(made, spec)
        )


def _begin(made: Contender, spec: Spec, setup: Setup) -> None:
    GOAL.want(1)
    made.open(setup)
    if setup.store == "memory":
        function = noop_coroutine if spec.work == "coroutine" else noop_function
        made.add_hourly(function, spec.count, bulk=True)
    made.resume()


def _end(made: Contender, spec: Spec) -> dict[str, Any]:
    # The database has one overdue task; idle is what comes after it.
    if spec.store != "memory" and not GOAL.wait(_TIMEOUT_S):
        raise TimeoutError("the overdue task was never called")
    time.sleep(_SETTLED_S)
    used_s, since = time.process_time(), time.perf_counter()
    time.sleep(spec.seconds)
    used_s, elapsed_s = time.process_time() - used_s, time.perf_counter() - since
    made.close()
    return {"cpu_percent": 100 * used_s / elapsed_s}
