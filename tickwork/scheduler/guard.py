"""The one guard through which all user code goes that the scheduler calls itself.

Triggers, listeners, imports and decoding may raise anything, or never come back. What they raise
becomes a value; what doesn't come back within its time is left behind in a thread of its own, and
its caller goes on.
"""

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar, cast

from tickwork.errors import InvalidTriggerError, TickworkError
from tickwork.interfaces import Trigger

__all__ = ["Guarded", "asked", "guarded", "guarded_trigger", "guarded_within"]

_TRIGGER_LIMIT_S = 2.0
_OURS = "tickwork.triggers."

T = TypeVar("T")


class Guarded(NamedTuple, Generic[T]):
    """What a guarded call returned, or the error that it raised instead."""

    value: T | None
    error: BaseException | None


def guarded(call: Callable[..., T], *args: Any) -> Guarded[T]:
    """Call user code and return what came of it, whatever that is."""
    try:
        return Guarded(call(*args), None)
    except BaseException as error:  # noqa: BLE001  user code: even SystemExit stops only itself
        return Guarded(None, error)


def guarded_within(limit_s: float, call: Callable[..., T], *args: Any) -> Guarded[T]:
    """Call user code in a thread of its own, and leave it there if it takes too long."""
    answers: list[Guarded[T]] = []
    thread = threading.Thread(
        target=lambda: answers.append(guarded(call, *args)), name="tickwork-guarded", daemon=True
    )
    thread.start()
    thread.join(limit_s)
    if answers:
        return answers[0]
    return Guarded(None, TimeoutError(f"it didn't come back within {limit_s:g} s"))


def guarded_trigger(trigger: Trigger, call: Callable[..., T], *args: Any) -> Guarded[T]:
    """Call what asks a trigger for fire times, bounded in time where the trigger may be endless."""
    if _is_quick(type(trigger)):
        return guarded(call, *args)
    return guarded_within(_TRIGGER_LIMIT_S, call, *args)


def asked(trigger: Trigger, call: Callable[[], T]) -> T:
    """Call what asks a trigger for fire times, for a caller who wants to know of its failure.

    Raises:
        TickworkError: what the call refused.
        InvalidTriggerError: the trigger raised, or took too long.
    """
    answer = guarded_trigger(trigger, call)
    if answer.error is None:
        return cast("T", answer.value)
    if isinstance(answer.error, TickworkError):
        raise answer.error
    raise InvalidTriggerError(f"trigger {trigger!r} failed: {answer.error!r}") from answer.error


@lru_cache(maxsize=256)
def _is_quick(kind: type) -> bool:
    """Whether a kind of trigger is one of ours that computes; and/or only ask others."""
    return kind.__module__.startswith(_OURS) and kind.kind not in {"and", "or"}  # type: ignore[attr-defined]  # a trigger's
