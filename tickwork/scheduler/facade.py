"""The awaitable side: the same methods, run off the event loop.

One generic facade instead of a second set of methods: whatever is called on it is called on the
object behind it, in a thread, so that store I/O never blocks the loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import wraps
from typing import Any

__all__ = ["AsyncFacade", "calling_loop", "running_loop"]

calling_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar(
    "tickwork_calling_loop", default=None
)
"""The event loop for which a method runs in a thread."""


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if any does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class AsyncFacade:
    """Makes the methods of an object awaitable.

    Attributes that aren't methods come as they are. Results that have an awaitable side of their
    own (`.aio`) keep it.
    """

    def __init__(self, target: object) -> None:
        self._target = target

    def __repr__(self) -> str:
        return f"<awaitable {self._target!r}>"

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if name.startswith("_") or not callable(attribute):
            return attribute
        return _awaitable(attribute)


def _awaitable(method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        calling_loop.set(asyncio.get_running_loop())
        return await asyncio.to_thread(method, *args, **kwargs)

    return call
