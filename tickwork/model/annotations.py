"""Which classes the annotation of a parameter mentions, anywhere in it.

`list[Color]`, `Order | None` and `Annotated[...]` mention what is inside them, dataclasses, named
tuples and typed dicts also what their fields mention. Annotations that can't be evaluated (a name
imported under TYPE_CHECKING) mention nothing.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import FunctionType, MethodType
from typing import Any

from tickwork.model.callables import INJECTED, unwrapped_partial
from tickwork.model.per_function import PerFunction

__all__ = ["classes_mentioned", "hints_of"]


def _read_classes(function: Callable[..., Any]) -> Mapping[str, tuple[type, ...]]:
    """Return the classes that each parameter's annotation mentions."""
    mentioned: dict[str, tuple[type, ...]] = {}
    for name, hint in _hints(_annotated(function)).items():
        found: dict[type, None] = {}
        _collect(hint, found, {})
        mentioned[name] = tuple(found)
    return mentioned


# A memory like that of `signatures`, for the same reasons.
_CLASSES = PerFunction(_read_classes)


def classes_mentioned(function: Callable[..., Any], parameter: str | None) -> tuple[type, ...]:
    """Return the classes in the annotation of a parameter, each once."""
    return _CLASSES(function).get(parameter or "", ())


def hints_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of a function that can be evaluated, with their metadata."""
    return _hints(_annotated(function), extras=True)


def _annotated(function: Callable[..., Any]) -> Any:
    """Return the object whose annotations are those of a call of `function`."""
    inner = unwrapped_partial(function)[0]
    inner = getattr(inner, INJECTED, inner)
    if isinstance(inner, type):
        return inner.__init__  # type: ignore[misc]
    # Not hasattr: an object's class may annotate its attributes.
    if isinstance(inner, FunctionType | MethodType) or "__wrapped__" in getattr(
        inner, "__dict__", {}
    ):
        return inner
    return getattr(type(inner), "__call__", inner)  # noqa: B004


def _hints(owner: Any, *, extras: bool = False) -> dict[str, Any]:
    whole = _evaluated(owner, extras=extras)
    if whole is not None:
        return whole
    found: dict[str, Any] = {}
    for name, hint in getattr(owner, "__annotations__", {}).items():
        one = type("One", (), {"__annotations__": {name: hint}, "__module__": owner.__module__})
        names = getattr(owner, "__globals__", None)
        found.update(_evaluated(one, names, extras=extras) or {})
    return found


def _evaluated(
    owner: Any, names: dict[str, Any] | None = None, *, extras: bool
) -> dict[str, Any] | None:
    try:
        return typing.get_type_hints(owner, names, include_extras=extras)
    except Exception:  # noqa: BLE001 - the guard of annotations, which are users' code
        return None


def _collect(hint: Any, found: dict[type, None], seen: dict[int, Any]) -> None:
    if id(hint) in seen:
        return
    seen[id(hint)] = hint  # kept, so that no other hint gets its id
    if isinstance(hint, Enum):  # in a Literal
        hint = type(hint)
    if isinstance(hint, type):
        found[hint] = None
    for part in _parts(hint):
        _collect(part, found, seen)


# Of list[T], NewType, the `type` statement, TypeVar.
_PART_NAMES = ("__origin__", "__supertype__", "__value__", "__bound__")


def _parts(hint: Any) -> Iterator[Any]:
    """Yield what a type hint is made of: arguments, aliased types, fields."""
    yield from typing.get_args(hint)
    for name in _PART_NAMES:
        part = getattr(hint, name, None)
        if part is not None:
            yield part
    yield from getattr(hint, "__constraints__", ())
    if isinstance(hint, type) and (
        dataclasses.is_dataclass(hint) or hasattr(hint, "_fields") or typing.is_typeddict(hint)
    ):
        yield from _hints(hint).values()
