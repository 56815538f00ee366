"""What happens in a process of the pool.

Only texts come in and go out: the reference of a function with its arguments as stored, and the
result as stored or an error as data. Nothing of the user's is ever pickled.
"""

import contextvars
import os
import time
from typing import NamedTuple

from tickwork.executors.guard import attempt
from tickwork.executors.outcomes import run_error
from tickwork.model.functions import resolve
from tickwork.model.jobs import Job, RunError
from tickwork.model.policies import RunState
from tickwork.model.values import decode_arguments, encode_result

__all__ = ["MARK", "Verdict", "mark", "run"]

MARK = "TICKWORK_POOL_CHILD"
"""The environment variable that is "1" in a process of the pool, where no scheduler may start."""


class Verdict(NamedTuple):
    """How an attempt ended in a child: plain data, cheap to send."""

    state: str
    elapsed_us: int
    result: str | None = None
    error: RunError | None = None
    note: str | None = None


def mark() -> None:
    """Make this process known as one of the pool."""
    os.environ[MARK] = "1"


def run(reference: str, payload: str) -> Verdict:
    """Find the function, decode its arguments, run it and encode its result; never raises."""
    began_ns = time.perf_counter_ns()
    # A context of its own, since the next job of this process must not see what this one sets.
    outcome = contextvars.copy_context().run(attempt, _job(reference, payload), lambda: 0)
    elapsed_us = (time.perf_counter_ns() - began_ns) // 1_000
    if outcome.state is not RunState.COMPLETED:
        return Verdict(outcome.state.value, elapsed_us, error=outcome.error)
    try:
        result, note = encode_result(outcome.result), None
    except BaseException as error:  # noqa: BLE001 - part of the guard: a result is user code too
        result, note = None, f"the result is not kept: {run_error(error).message}"
    return Verdict(outcome.state.value, elapsed_us, result=result, note=note)


def _job(reference: str, payload: str) -> Job:
    """Return a job whose function finds the user's one first, all of it behind the guard."""

    def target() -> object:
        function = resolve(reference)
        args, kwargs = decode_arguments(payload, function)
        return function(*args, **kwargs)

    return Job(run_id="", task_id="", attempt=0, target=target)
