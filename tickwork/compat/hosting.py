"""Schedulers that live with something that knows nothing of them: an application, a program."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from tickwork.errors import SchedulerStateError, TaskConfigurationError
from tickwork.events import SchedulerStopped
from tickwork.scheduler.runtime import DRAINED_WITHIN_S, StopReport
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["dependency", "host", "start_with_loop", "stop_from_inside", "until_stopped"]


def host(app: Any, scheduler: Scheduler) -> None:
    """Have a scheduler start after an application's own start-up, and stop before its shutdown.

    For Starlette, FastAPI and what has `on_startup` and `on_shutdown` as decorators.

    Raises:
        TaskConfigurationError: it is another kind of application.
    """
    router: Any = getattr(app, "router", None)
    if hasattr(router, "lifespan_context"):
        router.lifespan_context = _around(router.lifespan_context, scheduler)
    elif hasattr(app, "on_startup") and hasattr(app, "on_shutdown"):
        app.on_startup(scheduler.aio.start)
        app.on_shutdown(scheduler.aio.stop)
    else:
        raise TaskConfigurationError(
            f"{app!r} can't be told to start a scheduler; do it in its lifespan, by `async with`"
        )


def _around(own: Any, scheduler: Scheduler) -> Any:
    @asynccontextmanager
    async def whole(app: Any) -> AsyncIterator[Any]:
        async with own(app) as state, scheduler:
            yield state

    return whole


def dependency(find: Callable[[Any], Any]) -> Any:
    """Return what makes FastAPI pass to an endpoint what is found by its request or web socket.

    Raises:
        TaskConfigurationError: FastAPI isn't installed.
    """
    try:
        from fastapi import Depends
        from starlette.requests import HTTPConnection
    except ImportError:
        raise TaskConfigurationError(
            "this dependency needs FastAPI: pip install 'tickwork[fastapi]'"
        ) from None

    def found(connection: HTTPConnection) -> Any:
        return find(connection)

    return Depends(found)


async def start_with_loop(scheduler: Scheduler) -> asyncio.Task[None] | None:
    """Start a scheduler that is to stop with the event loop; return what stops it if cancelled.

    It is left as it is, and None returned, where it is started already.
    """
    if scheduler.state not in {"new", "connected"}:
        return None
    with suppress(SchedulerStateError):  # another call was quicker
        await scheduler.aio.start()
        return asyncio.create_task(_stopping_at_the_end(scheduler))
    return None


async def _stopping_at_the_end(scheduler: Scheduler) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await scheduler.aio.stop()


@contextmanager
def until_stopped(scheduler: Scheduler) -> Iterator[None]:
    """Wait, at the end of the block that starts a scheduler, until something has stopped it."""
    stopped = threading.Event()
    tell = scheduler.on(SchedulerStopped, lambda _: stopped.set())
    try:
        yield
        try:
            stopped.wait()
        finally:
            scheduler.stop()
    finally:
        scheduler.off(SchedulerStopped, tell)


def stop_from_inside(
    scheduler: Scheduler,
    wait: bool = True,  # noqa: FBT001, FBT002  a field's known spelling
    timeout: float = DRAINED_WITHIN_S,
) -> StopReport:
    """Stop a scheduler; soon, where something of its own, or its event loop, calls this."""
    try:
        return scheduler.stop(wait, timeout)
    except SchedulerStateError:
        # It would wait for its own end here.
        threading.Thread(target=scheduler.stop, args=(wait, timeout), name="shutdown").start()
        return StopReport()
