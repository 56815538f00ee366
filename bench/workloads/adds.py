"""Adding recurring tasks to a started scheduler: tasks a second, each stored when the call returns.

One by one, or (`bulk`) in steps of 10,000 where there is such a thing. Nothing is due meanwhile.
"""

import time
from pathlib import Path
from typing import Any

from bench.contenders import Contender, Setup
from bench.spec import Spec
from bench.work import noop_coroutine, noop_function
from bench.workloads.stage import database, on_stage

__all__ = ["measure"]


def measure(spec: Spec) -> dict[str, Any]:
    """Return tasks added a second."""
    with database(spec) as file:
        return on_stage(
            spec, lambda made: _add(made, spec, file), lambda made, s: _end(made, spec, s)
        )


def _add(made: Contender, spec: Spec, file: Path | None) -> float:
    made.open(Setup(file, spec.work))
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
