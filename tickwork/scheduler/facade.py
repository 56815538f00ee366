"""The awaitable side: the same methods, run off the event loop.

One generic facade instead of a second set of methods: whatever is called on it is called on the
object behind it, in a thread, so that store I/O never blocks the loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

__all__ = ["AsyncFacade"]


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
        return await asyncio.to_thread(method, *args, **kwargs)

    return call
