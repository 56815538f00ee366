"""Time zones as triggers keep them: given in many ways, stored in one.

A zone is either a `ZoneInfo` with a key or a fixed offset of whole seconds, because only those can
be written down and found again. UTC is always `datetime.UTC`.
"""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tickwork.errors import InvalidTriggerError

__all__ = ["read_zone", "zone_key"]

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)(?::?(\d\d))?", re.ASCII)
_ADVICE = "give an IANA name such as 'Europe/Berlin', an offset such as '+02:00', or a ZoneInfo"


def read_zone(value: object) -> tzinfo | None:
    """Return the time zone that `value` names, or None for None.

    Takes names, offsets, `ZoneInfo`, `datetime.timezone`, and other libraries' zones that carry
    their IANA name as `key` or `zone`.

    Raises:
        InvalidTriggerError: there is no such zone, or it could not be written down.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _named(value.strip())
    if isinstance(value, timezone):
        return _fixed(value.utcoffset(None))
    name = getattr(value, "key", None) or getattr(value, "zone", None)
    if isinstance(name, str):
        return _named(name)
    raise InvalidTriggerError(f"Not a time zone that can be stored: {value!r}; {_ADVICE}")


def zone_key(zone: tzinfo) -> str:
    """Return the text from which `read_zone` makes `zone` again."""
    if isinstance(zone, ZoneInfo):
        return str(zone.key)
    return "UTC" if zone is UTC else str(zone).removeprefix("UTC")


def _named(name: str) -> tzinfo:
    if name.upper() in {"UTC", "Z"}:
        return UTC
    if offset := _OFFSET.fullmatch(name):
        sign, hours, minutes, seconds = offset.groups(default="0")
        if int(hours) < 24 and int(minutes) < 60 and int(seconds) < 60:
            span = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
            return _fixed(-span if sign == "-" else span)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: a directory ("Europe") or a path that the system can't open.
        raise InvalidTriggerError(f"Unknown time zone: {name!r}; {_ADVICE}") from None


def _fixed(offset: timedelta) -> tzinfo:
    if offset.microseconds:
        raise InvalidTriggerError(f"Offsets are whole seconds, not {offset}; {_ADVICE}")
    return timezone(offset) if offset else UTC
