"""What to do about a value that can't be stored, in words."""

import dataclasses
import io
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from tickwork.model.revival import is_revivable

__all__ = ["advice_for", "path_to"]

_LONGEST_PATH = 20
_BY_NAME = "pass its name as text, such as 'module:name', and look it up in the task"
_ADVICE: Mapping[type | tuple[type, ...], str] = {
    (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType): _BY_NAME,
    io.IOBase: "pass its path, and open it in the task",
    Awaitable: "await it first and pass what it gives",
    Iterator: "pass a list of what it yields, or make it in the task",
    tzinfo: "use zoneinfo.ZoneInfo or datetime.timezone",
}
_STANDARD = (datetime, date, time, timedelta, str, int, float, bytes, dict, list, tuple, set)


def advice_for(value: object) -> str:
    """Return what to pass instead of a value that can't be stored."""
    kind = type(value)
    if is_revivable(kind):
        return (
            f"annotate the parameter with {kind.__qualname__} and pass the function itself, or "
            "pass plain data and make the object in the task"
        )
    for kinds, advice in _ADVICE.items():
        if isinstance(value, kinds):
            return advice
    for base in _STANDARD:
        if isinstance(value, base) and kind is not base:
            return f"convert it to a plain {base.__name__} first"
    return "pass an id or plain data, and load the object in the task"


def path_to(value: Any, part: object) -> str | None:
    """Return where in `value` a part of it is, as `[0]['key'].field`; "" where it is the whole.

    None where it is too deep inside for a path to be of use.
    """
    return _path(value, part, _LONGEST_PATH, set())


def _path(value: Any, part: object, depth: int, seen: set[int]) -> str | None:
    if value is part:
        return ""
    if depth == 0 or id(value) in seen:
        return None
    seen.add(id(value))
    for step, child in _children(value):
        rest = _path(child, part, depth - 1, seen)
        if rest is not None:
            return f"{step}{rest}"
    return None


def _children(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        items = [(f"[{key!r}]", each) for key, each in value.items()]
        return [*((".keys()", key) for key in value), *items]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", each) for index, each in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [("{...}", each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value)]
        return [(f".{name}", getattr(value, name, None)) for name in names]
    return []
