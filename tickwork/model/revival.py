"""Objects of users' classes: stored as their data, brought back by a function's annotations.

An enum member is stored as the name of its class and its own name, a dataclass, named tuple or
pydantic model as the name of its class and its fields. The class itself is never looked up by that
name: it must be one that the annotation of the parameter mentions, anywhere (`list[Color]`,
`Order | None`, a field of an annotated dataclass). The stored name chooses among those; where a
parameter mentions just one class of the kind, that one is taken, so a class may be renamed. Plain
data stays plain data, whatever the annotation says.

Which of these objects really come back equal depends on their classes, so each is tried before it
is stored.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from enum import Enum, Flag
from functools import reduce
from operator import eq, or_
from typing import Any, TypeVar

from tickwork.errors import UnreadableRecordError
from tickwork.model.annotations import classes_mentioned
from tickwork.model.callables import name_of
from tickwork.model.json_text import to_text
from tickwork.model.tagging import NotDataError, Packing, unknown_tag

__all__ = [
    "UnknownClassError",
    "is_revivable",
    "pack_as_data",
    "pack_for_revival",
    "revive",
    "same",
]

T = TypeVar("T")


class UnknownClassError(UnreadableRecordError):
    """No annotation says of which class a stored object is to be made."""


_ENUM = "$enum"
_OBJECT = "$object"
_ABSENT = ()  # what stands for a field that was never set


def is_revivable(kind: type) -> bool:
    """Tell whether objects of a class are stored as data and brought back by an annotation."""
    return issubclass(kind, Enum) or _is_record(kind)


def pack_for_revival(packing: Packing, value: Any) -> dict[str, Any]:
    """Return an object as data from which `revive` brings it back.

    Raises:
        NotDataError: objects of its class have no such data.
    """
    kind = type(value)
    if issubclass(kind, Enum):
        names = [each.name for each in value] if issubclass(kind, Flag) else value.name
        return {_ENUM: [kind.__qualname__, names]}
    if _is_record(kind):
        return {_OBJECT: [kind.__qualname__, packing.pack(_fields_of(value, revivable=True))]}
    raise NotDataError(value, "")


def pack_as_data(packing: Packing, value: Any) -> Any:
    """Return an object as the plain data that it stands for, from which it does not come back.

    Raises:
        NotDataError: it stands for no data.
    """
    kind = type(value)
    if issubclass(kind, Enum):
        return packing.pack(value.value)
    if _is_record(kind) and not _is_named_tuple(kind):
        return packing.pack(_fields_of(value, revivable=False))
    for base, plain in _PLAIN.items():
        if issubclass(kind, base):
            return packing.pack(plain(value))
    raise NotDataError(value, "")


# Not the classes themselves: those would ask a subclass for its own idea of what it is.
_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}


def revive(
    tag: str, content: Any, function: Callable[..., Any] | None, parameter: str | None
) -> Any:
    """Return the object of a tag, of a class that the annotation of `parameter` mentions.

    Raises:
        UnknownClassError: the annotation doesn't say of which class, or there is no function.
        UnreadableRecordError: the class refuses its data.
    """
    if tag not in {_ENUM, _OBJECT}:
        unknown_tag(tag, content)
    name, data = content
    if function is None:
        raise UnknownClassError(
            f"an object of {name} comes back by the annotations of the function, which isn't at "
            "hand here"
        )
    kinds = [each for each in classes_mentioned(function, parameter) if is_revivable(each)]
    fitting = [each for each in kinds if issubclass(each, Enum) is (tag == _ENUM)]
    chosen = [each for each in fitting if each.__qualname__ == name] or fitting
    if len(chosen) != 1:
        raise UnknownClassError(
            f"the annotation of {parameter!r} in {name_of(function)}() mentions "
            f"{'several classes' if chosen else 'no class'} of which this {name} could be made"
        )
    return _guarded(_revived, chosen[0], data)


def same(left: Any, right: Any) -> bool:
    """Tell whether two storable values are of the same types and equal, all the way down.

    nan is the same as nan, 1 is not the same as True, and times must agree in zone and fold.
    """
    kind = type(left)
    if kind is not type(right):
        return False
    if issubclass(kind, Enum):
        return left is right
    if _is_model(kind):
        return bool(_guarded(eq, left, right))
    ours, theirs = _parts(left), _parts(right)
    if ours is None or theirs is None:
        return _text_of(left) == _text_of(right)
    return len(ours) == len(theirs) and all(map(same, ours, theirs))


def _parts(value: Any) -> list[Any] | None:
    """Return what a value is made of, in an order that equal values share; None for an atom."""
    kind = type(value)
    if kind is dict:
        return [part for pair in value.items() for part in pair]
    if kind in (set, frozenset):
        return sorted(value, key=_text_of)
    if kind is list or issubclass(kind, tuple):
        return list(value)
    if dataclasses.is_dataclass(kind):
        names = [each.name for each in dataclasses.fields(kind) if each.init or each.compare]
        return [getattr(value, name, _ABSENT) for name in names]
    return None


def _text_of(value: Any) -> str:
    # Each kind in the tables of `tagging` is written in full, so the same text is the same value.
    return to_text(Packing(pack_for_revival).pack(value))


def _is_record(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or _is_named_tuple(kind) or _is_model(kind)


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_model(kind: type) -> bool:
    # Who hasn't imported pydantic has no models either.
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and issubclass(kind, base)


def _fields_of(value: Any, *, revivable: bool) -> Any:
    kind = type(value)
    if _is_model(kind):
        # By the names of the fields, in pydantic's own JSON form: aliases may differ for the two
        # directions. Computed fields are for looking at, they can't be given back.
        return _guarded(lambda: value.model_dump(mode="json", round_trip=revivable))
    if _is_named_tuple(kind):
        return dict(zip(kind._fields, tuple.__iter__(value), strict=False))
    names = [each.name for each in dataclasses.fields(kind) if each.init or not revivable]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _revived(kind: type, data: Any) -> Any:
    if issubclass(kind, Flag):
        return reduce(or_, (kind[name] for name in data), kind(0))
    if issubclass(kind, Enum):
        return kind[data]
    if _is_model(kind):
        return kind.model_validate_json(to_text(data), by_name=True, by_alias=False)  # type: ignore[attr-defined]
    return kind(**data)


def _guarded(action: Callable[..., T], *args: Any) -> T:
    try:
        return action(*args)
    except Exception as error:  # the guard of users' classes: constructors, validators, ==
        raise UnreadableRecordError(f"{type(error).__name__}: {error}") from error
