"""Work in threads that a coroutine waits for to its end, whatever happens to the coroutine."""

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

__all__ = ["finished", "off_loop"]

logger = logging.getLogger("tickwork.coordination")


def off_loop(function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
    """Call a function in a thread; unlike a task, it isn't cancelled at the end of the loop."""
    return asyncio.get_running_loop().run_in_executor(None, copy_context().run, function, *args)


async def finished(work: asyncio.Future[Any]) -> Any:
    """Wait for some work, also when the caller is cancelled meanwhile: it must not be half done.

    The cancellation is raised then, also where the work failed.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None or work.cancelled():
        return work.result()
    if work.exception() is not None:
        logger.warning("while a coroutine was cancelled: %s", work.exception())
    raise cancelled
