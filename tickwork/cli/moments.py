"""Instants and durations, as people read them."""

from datetime import datetime, timedelta, tzinfo

__all__ = ["duration_text", "moment_text", "relative_text", "seconds_text"]

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
