"""How each kind of value of the standard library is written as data, and read again.

A writer is given a function that packs the parts of its value, and returns a tag (or plain data); a
reader is given the content of the tag, unpacked, and may raise anything if it isn't what the writer
made. Each kind is written in full: the same data means the same value, of the same type.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tickwork.model.json_text import to_text

__all__ = ["READERS", "WRITERS", "NotDataError", "is_unicode", "tagged_text"]

_Pack = Callable[[Any], Any]


class NotDataError(Exception):
    """A value has no form as data: `culprit` is the part of it that hasn't, `reason` says why."""

    def __init__(self, culprit: object, reason: str) -> None:
        super().__init__(reason)
        self.culprit = culprit
        self.reason = reason


def is_unicode(text: str) -> bool:
    """Tell whether every store takes a text as it is."""
    if text.isascii():
        return True
    # Names of files that aren't UTF-8 have lone surrogates, which no store takes as text.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def tagged_text(text: str) -> dict[str, str]:
    """Return the tag of a text that is not Unicode."""
    return {"$str": b64encode(text.encode("utf-8", "surrogatepass")).decode()}


def _pack_list(pack: _Pack, value: list[Any]) -> list[Any]:
    return [pack(each) for each in value]


def _pack_dict(pack: _Pack, value: dict[Any, Any]) -> dict[str, Any]:
    plain = all(type(key) is str and (key.isascii() or is_unicode(key)) for key in value)
    if plain and not (len(value) == 1 and next(iter(value)).startswith("$")):
        return {key: pack(each) for key, each in value.items()}
    return {"$dict": [[pack(key), pack(each)] for key, each in value.items()]}


def _sorted(pack: _Pack, value: set[Any] | frozenset[Any]) -> list[Any]:
    return sorted((pack(each) for each in value), key=to_text)


def _moment(pack: _Pack, value: datetime | time) -> Any:
    """Return ISO text where that says all, else the local reading, its zone and its fold."""
    zone = value.tzinfo
    if not value.fold and (zone is None or (type(zone) is timezone and len(_offset(zone)) == 1)):
        return value.isoformat()
    return [value.replace(tzinfo=None).isoformat(), pack(zone), value.fold]


def _offset(value: timezone) -> list[Any]:
    offset = value.utcoffset(None)
    name = value.tzname(None)
    return [offset] if name == timezone(offset).tzname(None) else [offset, name]


def _zone_key(value: ZoneInfo) -> str:
    if not value.key:
        raise NotDataError(value, "a ZoneInfo without a key has no name to be found by")
    return value.key


WRITERS: Mapping[type, Callable[[_Pack, Any], Any]] = {
    list: _pack_list,
    dict: _pack_dict,
    tuple: lambda pack, value: {"$tuple": [pack(each) for each in value]},
    set: lambda pack, value: {"$set": _sorted(pack, value)},
    frozenset: lambda pack, value: {"$frozenset": _sorted(pack, value)},
    bytes: lambda _, value: {"$bytes": b64encode(value).decode()},
    bytearray: lambda _, value: {"$bytearray": b64encode(value).decode()},
    datetime: lambda pack, value: {"$datetime": _moment(pack, value)},
    time: lambda pack, value: {"$time": _moment(pack, value)},
    date: lambda _, value: {"$date": value.isoformat()},
    timedelta: lambda _, value: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    timezone: lambda pack, value: {"$timezone": pack(_offset(value))},
    ZoneInfo: lambda _, value: {"$zoneinfo": _zone_key(value)},
    Decimal: lambda _, value: {"$decimal": str(value)},
    Fraction: lambda pack, value: {"$fraction": [pack(value.numerator), pack(value.denominator)]},
    complex: lambda pack, value: {"$complex": [pack(value.real), pack(value.imag)]},
    UUID: lambda _, value: {"$uuid": str(value)},
    range: lambda pack, value: {
        "$range": [pack(each) for each in (value.start, value.stop, value.step)]
    },
    type(Path()): lambda pack, value: {"$path": pack(str(value))},
    PurePosixPath: lambda pack, value: {"$pureposixpath": pack(str(value))},
    PureWindowsPath: lambda pack, value: {"$purewindowspath": pack(str(value))},
}


def _read_moment(kind: type[datetime] | type[time]) -> Callable[[Any], datetime | time]:
    def read(content: Any) -> datetime | time:
        if isinstance(content, str):
            return kind.fromisoformat(content)
        text, zone, fold = content
        return kind.fromisoformat(text).replace(tzinfo=zone, fold=fold)

    return read


def _read_bytes(content: str) -> bytes:
    return b64decode(content, validate=True)


READERS: Mapping[str, Callable[[Any], Any]] = {
    "$str": lambda content: _read_bytes(content).decode("utf-8", "surrogatepass"),
    "$int": lambda content: int(content, 16),
    "$float": {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}.__getitem__,
    "$dict": dict,
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$bytes": _read_bytes,
    "$bytearray": lambda content: bytearray(_read_bytes(content)),
    "$datetime": _read_moment(datetime),
    "$time": _read_moment(time),
    "$date": date.fromisoformat,
    "$timedelta": lambda content: timedelta(*content),
    "$timezone": lambda content: timezone(*content),
    "$zoneinfo": ZoneInfo,
    "$decimal": Decimal,
    "$fraction": lambda content: Fraction(*content),
    "$complex": lambda content: complex(*content),
    "$uuid": UUID,
    "$range": lambda content: range(*content),
    "$path": Path,
    "$pureposixpath": PurePosixPath,
    "$purewindowspath": PureWindowsPath,
}
