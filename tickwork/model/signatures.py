"""Whether arguments fit a function, known before it is called.

`inspect.signature` is slow, and adding a task needs it each time; what it says is read once per
function and kept for as long as the function lives.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from types import MethodType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from tickwork.errors import InvalidArgumentsError
from tickwork.model.callables import name_of

__all__ = ["Parameters", "PerFunction", "check_signature", "parameters_of"]

T = TypeVar("T")


class PerFunction(Generic[T]):
    """Remembers what was read off a function for as long as the function lives.

    Bound methods are made anew at each access, so what is known of them hangs on their function.
    What can't be referred to weakly is read each time. Thread-safe.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters of a function, arranged for checking.

    `positional` are those that a place in `args` can mean, in order; `by_keyword` those that a
    name in `kwargs` can mean. `rest` and `keywords` are the names of `*args` and `**kwargs`.
    """

    positional: tuple[str, ...]
    by_keyword: frozenset[str]
    required: tuple[str, ...]
    rest: str | None
    keywords: str | None

    def name_at(self, position: int) -> str | None:
        """Return the parameter that a place in `args` is for, or None where there is none."""
        return self.positional[position] if position < len(self.positional) else self.rest

    def name_for(self, keyword: str) -> str | None:
        """Return the parameter that a name in `kwargs` is for, or None where there is none."""
        return keyword if keyword in self.by_keyword else self.keywords


def _read_parameters(function: Callable[..., Any]) -> Parameters | None:
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            # Annotations are evaluated when they are asked for, and may name what isn't there.
            signature = inspect.signature(function, annotation_format=Format.STRING)
        else:
            signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    each = list(signature.parameters.values())
    optional = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    by_position = {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    }
    by_keyword = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return Parameters(
        positional=tuple(one.name for one in each if one.kind in by_position),
        by_keyword=frozenset(one.name for one in each if one.kind in by_keyword),
        required=tuple(
            one.name for one in each if one.default is one.empty and one.kind not in optional
        ),
        rest=next((one.name for one in each if one.kind is one.VAR_POSITIONAL), None),
        keywords=next((one.name for one in each if one.kind is one.VAR_KEYWORD), None),
    )


# The one memory of this module: what it holds is fixed by the function that it hangs on, so it can
# be neither wrong nor in anyone's way, and it is gone when the function is.
_PARAMETERS: PerFunction[Parameters | None] = PerFunction(_read_parameters)


def parameters_of(function: Callable[..., Any]) -> Parameters | None:
    """Return the parameters of a function, or None where it doesn't tell (some built-in ones)."""
    return _PARAMETERS(function)


def check_signature(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    injected: Collection[str] = (),
) -> None:
    """Refuse arguments that a call of `function` would not accept.

    Parameters named in `injected` will be given by name when the function is called, if nothing
    else gives them. Callables that don't tell their signature accept everything.

    Raises:
        InvalidArgumentsError: an argument is missing, unknown, given twice, or one too many.
    """
    parameters = parameters_of(function)
    if parameters is None:
        return
    given = parameters.positional[: len(args)]
    if len(args) > len(given) and parameters.rest is None:
        raise InvalidArgumentsError(
            f"{name_of(function)}() takes {len(given)} positional arguments at most, but args= "
            f"has {len(args)}: leave out {', '.join(map(repr, args[len(given) :]))}"
        )
    for keyword in kwargs:
        if keyword in given and keyword in parameters.by_keyword:
            raise InvalidArgumentsError(
                f"{name_of(function)}() got two values for {keyword!r}: args[{given.index(keyword)}"
                f"] and kwargs[{keyword!r}]; leave one out"
            )
        if keyword not in parameters.by_keyword and parameters.keywords is None:
            raise InvalidArgumentsError(_unexpected(function, parameters, keyword))
    by_name = parameters.by_keyword.intersection([*kwargs, *injected])
    missing = [each for each in parameters.required if each not in given and each not in by_name]
    if missing:
        raise InvalidArgumentsError(_missing(function, parameters, missing))


def _unexpected(function: Callable[..., Any], parameters: Parameters, keyword: str) -> str:
    problem = f"{name_of(function)}() got an unexpected keyword argument {keyword!r}"
    if keyword in parameters.positional:
        return f"{problem}: it is accepted by position only; pass it with args="
    close = difflib.get_close_matches(str(keyword), parameters.by_keyword, 1)
    if close:
        return f"{problem}; did you mean {close[0]!r}?"
    names = ", ".join(each for each in parameters.positional if each in parameters.by_keyword)
    return f"{problem}; it takes {names or 'none'}"


def _missing(function: Callable[..., Any], parameters: Parameters, missing: Sequence[str]) -> str:
    one = len(missing) == 1
    names = ", ".join(map(repr, missing))
    what = "a required argument" if one else f"{len(missing)} required arguments"
    by_name = all(each in parameters.by_keyword for each in missing)
    by_place = any(each in parameters.positional for each in missing)
    how = " or ".join(["args="] * by_place + ["kwargs="] * by_name)
    return (
        f"{name_of(function)}() is missing {what}: {names}; pass {'it' if one else 'them'} "
        f"with {how or 'args= and kwargs='}"
    )
