"""Calls that block, made in threads for an event loop, each to its end.

A task that waits for a thread can be cancelled, the thread can't. What it does would go on unseen
when whoever asked for it is gone already, and end after what was to come after it.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

__all__ = ["begun", "ended"]

R = TypeVar("R")


def begun(call: Callable[..., R], *args: Any) -> asyncio.Future[R]:
    """Return the future of a call that a thread makes from now on."""
    # Not a task: those are all cancelled at the end of a loop.
    context = copy_context()
    return asyncio.get_running_loop().run_in_executor(None, context.run, call, *args)


async def ended(
    future: asyncio.Future[Any], interrupted: Callable[[], object] = lambda: None
) -> asyncio.CancelledError | None:
    """Wait for the end of a call; where the waiting task is cancelled meanwhile, return that.

    Each time it is cancelled, `interrupted` is called.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
            interrupted()
    return cancelled
