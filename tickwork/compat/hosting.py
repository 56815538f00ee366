"""Schedulers that start and stop with an application that knows nothing of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tickwork.errors import TaskConfigurationError
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["host"]


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
