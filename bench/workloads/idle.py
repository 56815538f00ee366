"""What a scheduler costs that has many tasks and nothing to do: share of one processor.

The tasks are there already (`place`), or are added first, to memory. Afterwards SQL databases are
asked how they go about the statements of an idle tickwork, from its start to its end.
"""

import time
from typing import Any

from bench.contenders import Contender, Setup
from bench.scans import Scans
from bench.spec import Spec
from bench.work import GOAL, noop_coroutine, noop_function
from bench.workloads.stage import on_stage, stage_store

__all__ = ["measure"]

_SETTLED_S = 3.0


def measure(spec: Spec) -> dict[str, Any]:
    """Return percent of one processor."""
    with stage_store(spec) as setup:
        found = on_stage(
            spec, lambda made: _begin(made, spec, setup), lambda made, _: _end(made, spec)
        )
        if spec.contender == "tickwork" and spec.store in {"sqlite", "postgresql"}:
            found |= _scans(spec, setup)
        return found


def _scans(spec: Spec, setup: Setup) -> dict[str, Any]:
    """Be idle once more, this time writing down what is asked of the database."""
    scans = Scans()
    with scans:
        on_stage(spec, lambda made: _begin(made, spec, setup), lambda made, _: _idled(made, spec))
    plans = scans.plans(setup)
    scanning = [plan for plan in plans if plan.scans]
    return {"statements": len(plans), "scans": len(scanning), "scanning": scanning}


def _idled(made: Contender, spec: Spec) -> dict[str, Any]:
    time.sleep(spec.seconds)
    made.close()
    return {}


def _begin(made: Contender, spec: Spec, setup: Setup) -> None:
    GOAL.want(0)
    made.open(setup)
    if spec.place is None:
        function = noop_coroutine if spec.work == "coroutine" else noop_function
        made.add_hourly(function, spec.count, bulk=True)
    made.resume()


def _end(made: Contender, spec: Spec) -> dict[str, Any]:
    time.sleep(_SETTLED_S)
    used_s, since = time.process_time(), time.perf_counter()
    time.sleep(spec.seconds)
    used_s, elapsed_s = time.process_time() - used_s, time.perf_counter() - since
    if (calls := GOAL.made()) != 0:
        raise AssertionError(f"{calls} calls, though nothing was due")
    made.close()
    return {"cpu_percent": 100 * used_s / elapsed_s}
