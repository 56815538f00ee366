"""Instants and durations, as people read and write them."""

from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from tickwork.errors import InvalidInputError

__all__ = [
    "duration_of",
    "duration_text",
    "moment_of",
    "moment_text",
    "relative_text",
    "seconds_text",
    "zone_named",
]

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MANY_DAYS = 14


def moment_text(moment: datetime, zone: tzinfo | None) -> str:
    """Return an instant on the clocks of `zone` (None: the system's), with its offset from UTC."""
    there = moment.astimezone(zone)
    offset = there.strftime("%z")
    return f"{there:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def relative_text(moment: datetime, now: datetime) -> str:
    """Return how far away an instant is: "in 3 h 12 min", "45 s ago", "now"."""
    away = moment - now
    if abs(away) < timedelta(seconds=1):
        return "now"
    text = duration_text(abs(away))
    return f"in {text}" if away > timedelta(0) else f"{text} ago"


def duration_text(duration: timedelta) -> str:
    """Return a duration of at least a second in its two largest units, rounded down."""
    left_s = int(duration.total_seconds())
    if left_s >= _MANY_DAYS * 86_400:
        return f"{left_s // 86_400:,} d"
    parts: list[str] = []
    for unit_s, unit in _STEPS:
        count, left_s = divmod(left_s, unit_s)
        if count:
            parts.append(f"{count} {unit}")
        if parts and (len(parts) == 2 or not count):
            break
    return " ".join(parts) or "0 s"


def seconds_text(seconds: float) -> str:
    """Return a measured duration: "0.4 ms", "12 ms", "3.2 s", "4 min 5 s"."""
    if seconds < 0:
        return f"-{seconds_text(-seconds)}"
    if seconds < 0.01:
        return f"{seconds * 1_000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return duration_text(timedelta(seconds=seconds))


def duration_of(text: str) -> timedelta:
    """Return the duration that a text such as "90s", "2h" or "7d" means.

    Raises:
        InvalidInputError: it means none.
    """
    from tickwork.interfaces import Periodic
    from tickwork.wiring import every

    try:
        trigger = every(text, {})
    except InvalidInputError as error:
        raise InvalidInputError(f"{text!r} is no duration; say it as 90s, 15m, 2h or 7d") from error
    if not isinstance(trigger, Periodic):
        raise InvalidInputError(f"{text!r} is no duration; say it as 90s, 15m, 2h or 7d")
    return trigger.interval


def moment_of(text: str, now: datetime, zone: tzinfo | None, *, ahead: bool = False) -> datetime:
    """Return the instant that a text means: ISO 8601, or how long ago (`ahead`: from now).

    Without an offset it is read on the clocks of `zone` (None: the system's).

    Raises:
        InvalidInputError: it means none.
    """
    if text[:4].isdigit() and "-" in text:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidInputError(f"{text!r} is no moment: {error}") from error
        if moment.tzinfo is not None:
            return moment
        return moment.replace(tzinfo=zone) if zone is not None else moment.astimezone()
    try:
        duration = duration_of(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{text!r} is no moment; say 2026-12-24T18:00, or a distance such as 90s, 2h or 7d"
        ) from error
    try:
        return now + duration if ahead else now - duration
    except OverflowError as error:
        raise InvalidInputError(f"{text!r} is too far away") from error


def zone_named(name: str | None) -> tzinfo | None:
    """Return the time zone of a name that the service gave, None where nothing has that name."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # an offset such as UTC+02:00
        return None
