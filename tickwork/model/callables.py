"""What kind of callable something is, and what to call it.

Nothing here calls or imports anything; all of it is true of any callable, stored or not.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = [
    "INJECTED",
    "is_coroutine_callable",
    "is_generator_callable",
    "name_of",
    "unwrapped_partial",
]

INJECTED = "_fastdepends_call_"
"""How FastDepends marks what it has injected, with the function itself; so do we."""

_LOCALS = "<locals>."


def name_of(function: Callable[..., Any]) -> str:
    """Return a readable name for people: of a partial its function's, of an object its class's."""
    inner = unwrapped_partial(function)[0]
    name = getattr(inner, "__qualname__", None) or getattr(inner, "__name__", None)
    if not isinstance(name, str):
        name = type(inner).__qualname__
    return name.rpartition(_LOCALS)[2]


def unwrapped_partial(
    function: Callable[..., Any],
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return a function, and the arguments that `functools.partial` (nested or not) gave it.

    The positional arguments come before those of a call, the keyword ones yield to a call's.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        args = (*function.args, *args)
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    return function, args, kwargs


def is_coroutine_callable(function: Callable[..., Any]) -> bool:
    """Tell whether a call gives a coroutine, as far as can be known without calling.

    True of coroutine functions and methods, partials of them, objects with an async `__call__`,
    and functions marked by `inspect.markcoroutinefunction` or as asyncio marks them.
    """
    inner = unwrapped_partial(function)[0]
    return (
        inspect.iscoroutinefunction(inner)
        or inspect.iscoroutinefunction(getattr(type(inner), "__call__", None))  # noqa: B004
        or _is_marked(inner)
    )


def is_generator_callable(function: Callable[..., Any]) -> bool:
    """Tell whether a call gives a generator, plain or async, and so runs nothing by itself."""
    inner = unwrapped_partial(function)[0]
    call = getattr(type(inner), "__call__", None)  # noqa: B004 - the method itself is looked at
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (inner, call)
    )


def _is_marked(function: Callable[..., Any]) -> bool:
    # The mark of Python 3.11 and of asgiref, which inspect doesn't look at. Where asyncio was never
    # imported nobody can have set it.
    coroutines = sys.modules.get("asyncio.coroutines")
    mark = getattr(coroutines, "_is_coroutine", None)
    return mark is not None and getattr(function, "_is_coroutine", None) is mark
