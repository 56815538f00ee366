"""An event loop in a thread of its own, for those whose methods are coroutines."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["OwnLoop"]

_T = TypeVar("_T")


class OwnLoop:
    """An event loop that runs until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, called: Coroutine[Any, Any, _T]) -> _T:
        """Wait for a coroutine on the loop, in any other thread."""
        return asyncio.run_coroutine_threadsafe(called, self._loop).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
