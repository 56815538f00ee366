"""Many no-op tasks that are due at one instant, in the past: how long until all were called.

The tasks are added to a started, paused scheduler; the clock starts when it is resumed. So nobody's
adding is part of it, and nobody begins before everything is there.
"""

import asyncio
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contenders import Contender, Setup, contender
from bench.spec import Spec
from bench.work import GOAL, noop_coroutine, noop_function

__all__ = ["begin", "end", "measure", "resume"]

_TIMEOUT_S = 300.0
_EXTRA_S = 0.2
"""How long we wait for calls that should not come."""


def measure(spec: Spec) -> dict[str, Any]:
    """Return the seconds until the last call, and until the last record, and the rates."""
    with TemporaryDirectory(prefix="tickwork-bench-", dir=spec.folder) as folder:
        file = Path(folder) / "tasks.db" if spec.store == "sqlite" else None
        setup = Setup(file, spec.work)
        if spec.work == "coroutine":
            return asyncio.run(_in_loop(spec, setup))
        made = contender(spec.contender)
        begin(made, spec, setup)
        return end(made, spec, resume(made))


async def _in_loop(spec: Spec, setup: Setup) -> dict[str, Any]:
    made = contender(spec.contender)
    begin(made, spec, setup)
    started_at = resume(made)
    return await asyncio.to_thread(end, made, spec, started_at)


def begin(made: Contender, spec: Spec, setup: Setup) -> None:
    """Start a contender, paused, and add the tasks."""
    made.open(setup)
    GOAL.want(spec.count)
    function = noop_coroutine if spec.work == "coroutine" else noop_function
    made.add_once(function, spec.count, datetime.now(UTC) - timedelta(seconds=1))


def resume(made: Contender) -> float:
    """Start the clock, and let it fire."""
    started_at = time.perf_counter()
    made.resume()
    return started_at


def end(made: Contender, spec: Spec, started_at: float) -> dict[str, Any]:
    """Wait for the end, check the count, and return the figures; never on the event loop."""
    if not GOAL.wait(_TIMEOUT_S):
        raise TimeoutError(f"{GOAL.made()} of {spec.count} calls within {_TIMEOUT_S:.0f} s")
    settled = made.settle(spec.count, _TIMEOUT_S)
    time.sleep(_EXTRA_S)
    if (calls := GOAL.made()) != spec.count:
        raise AssertionError(f"{calls} calls instead of {spec.count}")
    called_s = GOAL.reached_at - started_at
    written_s = settled.get("written_at", GOAL.reached_at) - started_at
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    made.close()
    return {
        "called_s": called_s,
        "written_s": written_s,
        "called_per_s": spec.count / called_s,
        "per_s": spec.count / written_s,
        "memory_mb": memory,
    }
