"""Many no-op tasks that are due at one instant, in the past: how long until all were called.

The tasks are added to a started, paused scheduler; the clock starts when it is resumed. So nobody's
adding is part of it, and nobody begins before everything is there. A queue's jobs are in the queue
by then, and resuming starts its worker.

What adding has left behind is collected before the clock starts: where it would be collected within
a short burst, which takes as long as a few hundred runs, was chance otherwise. And all processors
are kept busy until then: one that has idled for a twentieth of a second, in a virtual machine at
least, may need a tenth of one to come to its speed, which is all that a short burst takes.
"""

import gc
import hashlib
import os
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

from bench.contenders import Contender, Setup
from bench.spec import Spec
from bench.work import GOAL, noop_coroutine, noop_function
from bench.workloads.stage import fresh_store, on_stage

__all__ = ["begin", "end", "measure"]

_TIMEOUT_S = 300.0
_EXTRA_S = 0.2
"""How long we wait for calls that should not come."""

_WARM_S = 0.3
_BLOCK = bytes(1_000_000)
"""So much is hashed at a time, without the interpreter lock."""


def measure(spec: Spec) -> dict[str, Any]:
    """Return runs a second until the last call, and until the last record, and the memory."""
    with fresh_store(spec) as setup:
        return on_stage(
            spec,
            lambda made: begin(made, spec, setup),
            lambda made, started_at: end(made, spec, started_at),
        )


def begin(
    made: Contender, spec: Spec, setup: Setup, ready: Callable[[], object] = lambda: None
) -> float:
    """Start a contender, add the tasks, say that all is `ready`, start the clock, let it fire."""
    made.open(setup)
    GOAL.want(spec.count)
    function = noop_coroutine if spec.work == "coroutine" else noop_function
    made.add_once(function, spec.count, datetime.now(UTC) - timedelta(seconds=1))
    ready()
    gc.collect()
    _keep_busy(_WARM_S)
    started_at = time.perf_counter()
    made.resume()
    return started_at


def _keep_busy(seconds: float) -> None:
    """Keep all processors busy."""
    until = time.perf_counter() + seconds

    def work() -> None:
        while time.perf_counter() < until:
            hashlib.sha256(_BLOCK).digest()

    threads = [Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def end(made: Contender, spec: Spec, started_at: float) -> dict[str, Any]:
    """Wait for the last call and record, check their number, and return the figures."""
    if not GOAL.wait(_TIMEOUT_S):
        raise TimeoutError(f"{GOAL.made()} of {spec.count} calls within {_TIMEOUT_S:.0f} s")
    written_at = made.settle(spec.count, _TIMEOUT_S) or GOAL.reached_at
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    time.sleep(_EXTRA_S)
    if (calls := GOAL.made()) != spec.count:
        raise AssertionError(f"{calls} calls instead of {spec.count}")
    made.close()
    return {
        "per_s": spec.count / (written_at - started_at),
        "called_per_s": spec.count / (GOAL.reached_at - started_at),
        "memory_mb": memory,
    }
