"""Whether arguments fit a function, known before it is called.

`inspect.signature` is slow, and adding a task needs it each time; what it says is read once per
function and kept for as long as the function lives.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from tickwork.errors import InvalidArgumentsError, TaskConfigurationError
from tickwork.model.callables import name_of, unwrapped_partial
from tickwork.model.dependencies import arguments_beside, contradiction, needs_of
from tickwork.model.per_function import PerFunction

__all__ = ["PROVIDED", "Parameters", "PerFunction", "check_signature", "parameters_of"]

PROVIDED = ("task_id", "run_id")
"""The parameters that the scheduler fills where nobody else does."""

_BY_POSITION = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
_BY_KEYWORD = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters of a function, arranged for checking.

    `positional` are those that a place in `args` can mean, in order; `by_keyword` those that a
    name in `kwargs` can mean, also to a dependency of the function. Of these, `provided` are
    filled by the scheduler where they aren't given, and `beside` are none of the function's own.
    `rest` and `keywords` are the names of `*args`
    and `**kwargs`. `problem` says why no call can succeed.
    """

    positional: tuple[str, ...]
    by_keyword: frozenset[str]
    required: tuple[str, ...]
    provided: tuple[str, ...]
    beside: tuple[str, ...]
    rest: str | None
    keywords: str | None
    problem: str | None

    def name_at(self, position: int) -> str | None:
        """Return the parameter that a place in `args` is for, or None where there is none."""
        return self.positional[position] if position < len(self.positional) else self.rest

    def name_for(self, keyword: str) -> str | None:
        """Return the parameter that a name in `kwargs` is for, or None where there is none."""
        return keyword if keyword in self.by_keyword else self.keywords


def _read_parameters(function: Callable[..., Any]) -> Parameters | None:
    needs = needs_of(function)
    if needs is None:
        return None
    each = list(needs.signature.parameters.values())
    beside = arguments_beside(function)
    by_keyword = {one.name for one in each if one.kind in _BY_KEYWORD}.union(beside)
    # What a partial gives is given.
    free = by_keyword.difference(unwrapped_partial(function)[2])
    provided = tuple(name for name in PROVIDED if name in free)
    required = [name for name, must in {**needs.arguments, **beside}.items() if must]
    return Parameters(
        positional=tuple(one.name for one in each if one.kind in _BY_POSITION),
        by_keyword=frozenset(by_keyword),
        required=tuple(name for name in required if name not in provided),
        provided=provided,
        beside=tuple(beside),
        rest=next((one.name for one in each if one.kind is one.VAR_POSITIONAL), None),
        keywords=next((one.name for one in each if one.kind is one.VAR_KEYWORD), None),
        problem=contradiction(function),
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
) -> None:
    """Refuse arguments that a call of `function` would not accept.

    What the scheduler provides and what dependencies make needn't be given. Callables that don't
    tell their signature accept everything.

    Raises:
        InvalidArgumentsError: an argument is missing, unknown, given twice, or one too many.
        TaskConfigurationError: a plain function depends on an async one.
    """
    parameters = parameters_of(function)
    if parameters is None:
        return
    if parameters.problem is not None:
        raise TaskConfigurationError(parameters.problem)
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
    by_name = parameters.by_keyword.intersection(kwargs)
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
