"""The one guard through which all user code goes that the scheduler calls itself.

Triggers, listeners, imports and decoding may raise anything, or never come back. What they raise
becomes a value; what doesn't come back within its time is left behind in a thread of its own, and
its caller goes on.
"""

import threading
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Guarded", "guarded", "guarded_within"]

T = TypeVar("T")


class Guarded(NamedTuple, Generic[T]):
    """What a guarded call returned, or the error that it raised instead."""

    value: T | None
    error: BaseException | None


def guarded(call: Callable[[], T]) -> Guarded[T]:
    """Call user code and return what came of it, whatever that is."""
    try:
        return Guarded(call(), None)
    except BaseException as error:  # noqa: BLE001  user code: even SystemExit stops only itself
        return Guarded(None, error)


def guarded_within(call: Callable[[], T], limit_s: float) -> Guarded[T]:
    """Call user code in a thread of its own, and leave it there if it takes too long."""
    answers: list[Guarded[T]] = []
    thread = threading.Thread(
        target=lambda: answers.append(guarded(call)), name="tickwork-guarded", daemon=True
    )
    thread.start()
    thread.join(limit_s)
    if answers:
        return answers[0]
    return Guarded(None, TimeoutError(f"it didn't come back within {limit_s:g} s"))
