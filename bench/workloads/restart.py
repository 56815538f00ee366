"""A process that begins to work on a store with many tasks (`place`): seconds until it is ready.

Ready is when the one task that is overdue has been called: until then the scheduler was made, has
opened its store, and found what is due. Importing comes before.
"""

import time
from typing import Any

from bench.contenders import Contender, Setup
from bench.spec import Spec
from bench.work import GOAL
from bench.workloads.stage import on_stage, stage_store

__all__ = ["measure"]

_TIMEOUT_S = 60.0


def measure(spec: Spec) -> dict[str, Any]:
    """Return the seconds until the overdue task was called."""
    with stage_store(spec) as setup:
        return on_stage(spec, lambda made: _begin(made, setup), _end)


def _begin(made: Contender, setup: Setup) -> float:
    GOAL.want(1)
    started_at = time.perf_counter()
    made.open(setup)
    made.resume()
    return started_at


def _end(made: Contender, started_at: float) -> dict[str, Any]:
    if not GOAL.wait(_TIMEOUT_S):
        raise TimeoutError(f"not ready within {_TIMEOUT_S:.0f} s")
    seconds = GOAL.reached_at - started_at
    made.close()
    if (calls := GOAL.made()) != 1:
        raise AssertionError(f"{calls} calls instead of one")
    return {"ready_s": seconds}
