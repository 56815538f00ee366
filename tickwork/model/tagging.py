"""Values as JSON data, and back, exactly.

Plain JSON types stand as they are. Every other value becomes a *tag*: an object with a single key,
which begins with `$` and names the kind of the value. A dict that would look like a tag itself, or
whose keys aren't all text, is a tag too (`$dict`, a list of pairs). So nothing can be mistaken for
anything else, and a text without `"$` in it has no tags.

The kinds are the tables of `standard`. Nothing is looked up by a name that the data brings along,
so reading runs no code but the constructors of the standard library's values. Equal values give
equal data: sets are sorted, dicts keep their order.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any, NoReturn

from tickwork.errors import UnreadableRecordError
from tickwork.model.standard import READERS, WRITERS, NotDataError, is_unicode, tagged_text

__all__ = ["MAX_DEPTH", "MAX_VALUES", "NotDataError", "Packing", "unknown_tag", "unpack"]

MAX_DEPTH = 100
"""How deep values may be nested."""

MAX_VALUES = 100_000
"""How many containers and tags a value may have in all; it bounds what shared parts multiply."""

_INT_LIMIT = 2**63


class Packing:
    """Turns one value into JSON data; one object for each.

    `foreign` packs values of classes that aren't in the tables of `standard`; it is given this
    object, to pack their parts with, and the value.
    """

    __slots__ = ("_foreign", "_left", "_open")

    def __init__(self, foreign: Callable[["Packing", Any], Any]) -> None:
        self._foreign = foreign
        self._open: set[int] = set()
        self._left = MAX_VALUES

    def pack(self, value: Any) -> Any:
        """Return a value as JSON data.

        Raises:
            NotDataError: a part of it has no such form.
        """
        kind = type(value)
        if kind is str:
            return value if value.isascii() or is_unicode(value) else tagged_text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if -_INT_LIMIT <= value < _INT_LIMIT else {"$int": hex(value)}
        if kind is float:
            return value if isfinite(value) else {"$float": repr(value)}
        return self._pack_within(kind, value)

    def _pack_within(self, kind: type, value: Any) -> Any:
        here = id(value)
        self._left -= 1
        if here in self._open:
            raise NotDataError(value, "it contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise NotDataError(value, f"it is nested more than {MAX_DEPTH} levels deep")
        if self._left < 0:
            raise NotDataError(value, f"it has more than {MAX_VALUES:,} parts")
        self._open.add(here)
        try:
            write = WRITERS.get(kind)
            return self._foreign(self, value) if write is None else write(self.pack, value)
        finally:
            self._open.discard(here)


def unpack(data: Any, revive: Callable[[str, Any], Any]) -> Any:
    """Return the value of JSON data.

    `revive` is given each tag that isn't known here, with its content, and returns its value.

    Raises:
        Exception: of any kind, where the data was not made by `Packing`.
    """
    kind = type(data)
    if kind is list:
        return [unpack(each, revive) for each in data]
    if kind is not dict:
        return data
    if len(data) == 1:
        ((tag, content),) = data.items()
        if tag[:1] == "$":
            read = READERS.get(tag)
            content = unpack(content, revive)
            return revive(tag, content) if read is None else read(content)
    return {key: unpack(each, revive) for key, each in data.items()}


def unknown_tag(tag: str, content: object) -> NoReturn:
    """Refuse a tag; the `revive` of data that has no tags but those known here.

    Raises:
        UnreadableRecordError: always.
    """
    raise UnreadableRecordError(
        f"there is no kind of value {tag!r} here (content {content!r:.80}): a later tickwork has "
        "written it, or something else; update tickwork here"
    )
