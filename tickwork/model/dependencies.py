"""What a function depends on, as it declares with FastDepends' `Depends`.

A parameter is a dependency if its default is a `Depends(...)`, or the metadata of its annotation
has one. Any other parameter of a dependency is an argument of the task: it takes the function's
argument of that name, also where the function itself has no such parameter. FastDepends is never
imported here: a function that uses it has done so.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, cast, get_args, get_origin

from tickwork.model.annotations import hints_of
from tickwork.model.callables import is_coroutine_callable, name_of, unwrapped_partial
from tickwork.model.per_function import PerFunction

__all__ = ["Dependency", "Needs", "arguments_beside", "contradiction", "is_async", "needs_of"]

_ANY = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


class Dependency(NamedTuple):
    """What a `Depends(...)` says: what makes the value, and whether one is enough for a run."""

    maker: Callable[..., Any]
    shared: bool

    def current(self) -> Callable[..., Any]:
        """Return what makes the value now, which FastDepends lets tests override."""
        provider = sys.modules["fast_depends"].dependency_provider
        override = provider.overrides.get(self.maker)
        return self.maker if override is None else cast("Callable[..., Any]", override.call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The parameters of a function: its dependencies, and those that arguments are for.

    `arguments` tells of the latter whether a call must give them.
    """

    signature: inspect.Signature
    dependencies: Mapping[str, Dependency] = field(default_factory=dict)
    arguments: Mapping[str, bool] = field(default_factory=dict)


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of a function, or None where it doesn't tell (some built-in ones)."""
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            # Annotations are evaluated when they are asked for, and may name what isn't there.
            return inspect.signature(function, annotation_format=Format.STRING)
        return inspect.signature(function)
    except Exception:  # noqa: BLE001 - the guard of signatures, which objects may compute
        return None


def _read_needs(function: Callable[..., Any]) -> Needs | None:
    signature = _signature_of(function)
    if signature is None:
        return None
    dependencies = _declared(function, signature) if _marker() else {}
    return Needs(
        signature=signature,
        dependencies=dependencies,
        arguments={
            each.name: each.default is each.empty
            for each in signature.parameters.values()
            if each.kind not in _ANY and each.name not in dependencies
        },
    )


# A memory like that of `signatures`, for the same reasons.
_NEEDS = PerFunction(_read_needs)


def needs_of(function: Callable[..., Any]) -> Needs | None:
    """Return what the parameters of a function are, or None where it doesn't tell."""
    return _NEEDS(function)


def arguments_beside(function: Callable[..., Any], known: Collection[str] = ()) -> dict[str, bool]:
    """Return the arguments that only dependencies of a function take, and whether they must be.

    `known` are names that have a value already.
    """
    needs = needs_of(function)
    if needs is None or not needs.dependencies:
        return {}
    found: dict[str, bool] = {}
    names = {*known, *needs.arguments}
    for name, dependency in needs.dependencies.items():
        inner = needs_of(dependency.maker)
        own = {} if inner is None else inner.arguments
        deeper = arguments_beside(dependency.maker, {*names, *own})
        for argument, required in (*own.items(), *deeper.items()):
            if argument not in names:
                found[argument] = found.get(argument, False) or required
        names.add(name)  # what has been made is known to what is made after it
    return found


def contradiction(function: Callable[..., Any]) -> str | None:
    """Return why no call can make what a function depends on, or None."""
    return None if is_coroutine_callable(function) else _async_beneath(function)


def _async_beneath(function: Callable[..., Any]) -> str | None:
    needs = needs_of(function)
    for name, (maker, _) in needs.dependencies.items() if needs is not None else ():
        if is_async(maker):
            return (
                f"{name_of(function)}() is a plain function, and its {name!r} depends on "
                f"{name_of(maker)}(), which is async: write `async def` for both, or for neither"
            )
        deeper = _async_beneath(maker)
        if deeper is not None:
            return deeper
    return None


def is_async(maker: Callable[..., Any]) -> bool:
    """Tell whether a call needs an event loop: it gives a coroutine, or an async generator."""
    inner = unwrapped_partial(maker)[0]
    call = getattr(type(inner), "__call__", None)  # noqa: B004 - the method itself is looked at
    return (
        is_coroutine_callable(maker)
        or inspect.isasyncgenfunction(inner)
        or inspect.isasyncgenfunction(call)
    )


def _marker() -> type | None:
    """Return the class of what `Depends(...)` gives, where FastDepends is in use at all."""
    module = sys.modules.get("fast_depends.dependencies")
    return getattr(module, "Dependant", None)


def _declared(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Dependency]:
    marker = cast("type", _marker())
    hints = hints_of(function)
    given = unwrapped_partial(function)[2]
    found: dict[str, Dependency] = {}
    for name, parameter in signature.parameters.items():
        if name in given:
            continue
        hint = hints.get(name)
        hint = getattr(hint, "__value__", hint)  # of the `type` statement
        metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        for each in (parameter.default, *metadata):
            if isinstance(each, marker):
                said: Any = each
                found[name] = Dependency(said.dependency, said.use_cache)
                break
    return found
