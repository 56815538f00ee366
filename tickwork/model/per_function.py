"""What was read off a function, kept for as long as the function lives."""

from collections.abc import Callable
from threading import Lock
from types import MethodType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["PerFunction"]

T = TypeVar("T")


class PerFunction(Generic[T]):
    """Remembers what was read off a function for as long as the function lives.

    Bound methods are made anew at each access, so what is known of them hangs on their function.
    What can't be referred to weakly is read each time. What is read must not hold on to the
    function. Thread-safe.
    """

    def __init__(self, read: Callable[[Callable[..., Any]], T]) -> None:
        self._read = read
        self._known: WeakKeyDictionary[object, dict[bool, T]] = WeakKeyDictionary()
        self._lock = Lock()

    def __call__(self, function: Callable[..., Any]) -> T:
        """Return what `read` says about `function`."""
        bound = isinstance(function, MethodType)
        holder = function.__func__ if isinstance(function, MethodType) else function
        try:
            known = self._known.get(holder)
            if known is not None and bound in known:
                return known[bound]
            found = self._read(function)
            with self._lock:
                self._known.setdefault(holder, {})[bound] = found
        except TypeError:  # not hashable, or without weak references
            return self._read(function)
        return found
