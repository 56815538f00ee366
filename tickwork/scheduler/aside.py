"""A call in a thread of its own, whose result its caller comes back for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from tickwork.scheduler.guard import Guarded, guarded

__all__ = ["Aside"]

T = TypeVar("T")


class Aside(Generic[T]):
    """Calls something while its maker goes on."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._came: list[Guarded[T]] = []
        self._thread = threading.Thread(
            target=lambda: self._came.append(guarded(call)), name=name, daemon=True
        )
        self._thread.start()

    def result(self) -> T:
        """Wait until the call is over; return what it returned, or raise what it raised."""
        self._thread.join()
        [came] = self._came
        if came.error is not None:
            raise came.error
        return cast("T", came.value)
