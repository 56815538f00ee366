"""The guard through which all user code goes that an executor runs.

It is the one place that catches `BaseException`: a task may raise anything, `SystemExit` and
`KeyboardInterrupt` included, and must stop only itself, neither a worker thread nor the event loop
(asyncio lets these two out of `run_forever`). It stands here twice, for plain callers and for
callers on an event loop, because only one of them can wait for a coroutine.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import Any

from tickwork.executors.outcomes import run_error, state_after
from tickwork.model.current import current_job
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState

__all__ = ["attempt", "attempt_on_loop"]

_COMPLETED = RunState.COMPLETED
_enter = current_job.set


def attempt(job: Job, now_us: Callable[[], int]) -> Outcome:
    """Run a job in the calling thread and context; an awaitable it returns, on a loop of its own.

    Never raises. The context must be one for this job alone: it is that of its run from now on.
    """
    started_us = now_us()
    if not job.may_start(started_us):
        return _withdrawn(job, started_us)
    job.started_us = started_us
    _enter(job)
    try:
        result = job.target(*job.args, **job.kwargs)
        if hasattr(type(result), "__await__"):
            result = _awaited(result)
    except BaseException as error:  # noqa: BLE001 - the guard, see above
        return Outcome(job, state_after(error), started_us, now_us(), None, run_error(error))
    return Outcome(job, _COMPLETED, started_us, now_us(), result)


async def attempt_on_loop(
    job: Job, now_us: Callable[[], int], ended: Callable[[Outcome], None]
) -> None:
    """Run a job as the body of a task, then call `ended` with its outcome.

    Never raises. It swallows a cancellation, since it is the outermost frame of its task.
    """
    started_us = now_us()
    if not job.may_start(started_us):
        ended(_withdrawn(job, started_us))
        return
    job.started_us = started_us
    _enter(job)
    try:
        result = job.target(*job.args, **job.kwargs)
        if hasattr(type(result), "__await__"):
            result = await result
    except BaseException as error:  # noqa: BLE001 - the guard, see above
        state, reason = state_after(error), run_error(error)
        ended(Outcome(job, state, started_us, now_us(), None, reason))
    else:
        ended(Outcome(job, _COMPLETED, started_us, now_us(), result))


def _withdrawn(job: Job, now_us: int) -> Outcome:
    return Outcome(job, RunState.CANCELLED, 0, now_us)


def _awaited(awaitable: Awaitable[Any]) -> Any:
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public one raises instead
        return _run(awaitable)
    return _run_aside(awaitable)


def _run(awaitable: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await awaitable

    with asyncio.Runner() as runner:
        return runner.run(main())


def _run_aside(awaitable: Awaitable[Any]) -> Any:
    """Run an awaitable in a thread of its own, for a caller that stands on a running loop."""
    ended: list[tuple[Any, BaseException | None]] = []

    def body() -> None:
        try:
            ended.append((_run(awaitable), None))
        except BaseException as error:  # noqa: BLE001 - carried to the guard in the caller's thread
            ended.append((None, error))

    context = contextvars.copy_context()
    thread = Thread(target=context.run, args=(body,), name="tickwork-inline")
    thread.start()
    thread.join()
    [(result, error)] = ended
    if error is not None:
        raise error
    return result
