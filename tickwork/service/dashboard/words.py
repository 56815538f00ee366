"""Words for people: times, durations, schedules, and what became of what they did."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = [
    "MEANING",
    "SAID",
    "as_json",
    "by_hand",
    "duration",
    "field_name",
    "in_zone",
    "iso",
    "moment",
    "number",
    "plural",
    "relative",
    "schedule_text",
    "schedule_words",
    "short_id",
]

SAID = {
    "created": "The task was created.",
    "changed": "The changes were saved.",
    "paused": "The task is paused.",
    "resumed": "The task goes on.",
    "removed": "The task was removed. Its history stays.",
    "run": "A run was started.",
    "cancelled": "The run was asked to end.",
    "retried": "A new run does it again.",
    "password": "The password was changed; log in with the new one.",
    "revoked": "The token is worth nothing now.",
    "user-created": "The user was added.",
    "user-changed": "The user was changed.",
    "user-removed": "The user was removed.",
    "set-up": "The first admin is there: log in.",
    "logged-out": "You are logged out.",
}
"""What is said after something was done, by the word that the address carries."""

MEANING = {
    "completed": "good",
    "running": "busy",
    "pending": "idle",
    "failed": "bad",
    "timeout": "bad",
    "lost": "bad",
    "missed": "warn",
    "skipped": "idle",
    "cancelled": "idle",
    "scheduled": "good",
    "paused": "warn",
    "finished": "idle",
    "done": "good",
    "asked": "warn",
    "refused": "bad",
    "throttled": "bad",
}
"""The colour of a state, which its text always stands beside."""

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_DAYS = {"0": "Sunday", "1": "Monday", "2": "Tuesday", "3": "Wednesday", "4": "Thursday",
         "5": "Friday", "6": "Saturday", "7": "Sunday", "sun": "Sunday", "mon": "Monday",
         "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday",
         "sat": "Saturday"}  # fmt: skip
_FINER = {"month": 0, "day": 1, "day_of_week": 1, "hour": 2, "minute": 3}
_LEAST = (("minute", "0"), ("hour", "0"), ("day", "1"), ("month", "1"), ("day_of_week", "*"))
_NAMES = {
    "schedule_state": "state",
    "next_run_time": "next fire",
    "trigger_description": "schedule",
    "misfire_grace_time": "grace",
    "args": "positional arguments",
    "kwargs": "named arguments",
    "timezone": "time zone",
}


def moment(value: datetime | None) -> str:
    """Return an instant to the second, in UTC."""
    return "never" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def in_zone(value: datetime, zone: str | None) -> str | None:
    """Return an instant as clocks in a time zone show it; None where that says nothing new."""
    if zone is None or zone == "UTC":
        return None
    try:
        return f"{value.astimezone(ZoneInfo(zone)):%a %H:%M} {zone}"
    except (ZoneInfoNotFoundError, ValueError):
        return None


def short_id(run_id: str) -> str:
    """Return the part of a run's id by which the runs of a list differ."""
    return run_id[6:20] if len(run_id) > 20 else run_id


def iso(value: datetime) -> str:
    """Return an instant as machines read it."""
    return value.isoformat()


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    parts: list[str] = []
    left = round(seconds)
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def relative(value: datetime | None, now: datetime) -> str:
    """Return how long ago something was, or in how long it will be."""
    if value is None:
        return "never"
    seconds = (value - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def number(value: float) -> str:
    """Return a number with its thousands apart."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return how many things there are."""
    return f"{number(count)} {one if count == 1 else many or f'{one}s'}"


def as_json(value: Any) -> str:
    """Return data as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def field_name(name: str) -> str:
    """Return the name of a field as people say it."""
    return _NAMES.get(name, name.replace("_", " "))


def by_hand(value: Any) -> str:
    """Return a value as it stands in a table of changes."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return moment(datetime.fromisoformat(value)) if _INSTANT.fullmatch(value) else value
    return json.dumps(value, ensure_ascii=False, default=str)


# --- schedules ------------------------------------------------------------------------------------


def schedule_text(trigger: dict[str, Any] | None) -> str | None:
    """Return what to type to get a trigger, None where one line can't say it."""
    if trigger is None:
        return None
    kind, known = trigger.get("kind"), trigger.keys() - {"kind", "version", "timezone"}
    if kind == "cron":
        return _crontab_of(trigger) if known <= {"crontab", "fields"} else None
    if kind == "interval" and {"interval_us"} <= known <= {"interval_us", "anchor_us"}:
        return _interval_text(trigger["interval_us"])
    if kind == "date" and known == {"run_at"}:
        return str(trigger["run_at"])
    return None


def _interval_text(interval_us: int) -> str | None:
    seconds, rest = divmod(interval_us, 1_000_000)
    if rest:
        return None
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def schedule_words(description: str, trigger: dict[str, Any] | None) -> str:
    """Return a schedule in plain words; what has none, as its trigger describes itself."""
    if trigger is None or trigger.get("kind") != "cron" or trigger.keys() & {"start_at", "end_at"}:
        return description
    crontab = _crontab_of(trigger)
    return (_cron_words(crontab.split()) if crontab else None) or description


def _crontab_of(trigger: dict[str, Any]) -> str | None:
    """Return the expression that says the same as a cron trigger, None where none does."""
    if "crontab" in trigger:
        return str(trigger["crontab"])
    fields = {name: str(value) for name, value in trigger.get("fields", {}).items()}
    days = fields.get("day_of_week", "*")
    numbered = not all(
        each.isalpha() for each in days.replace("-", ",").replace("*", "a").split(",")
    )
    # Weekdays are numbered from Monday here, and both kinds of days must fit: neither does there.
    if not fields.keys() <= {*_FINER} or numbered or {"day", "day_of_week"} <= fields.keys():
        return None
    finest = max(_FINER[name] for name in fields)
    parts = [fields.get(name, "*" if _FINER[name] <= finest else least) for name, least in _LEAST]
    return " ".join(parts)


def _cron_words(fields: Sequence[str]) -> str | None:
    if len(fields) != 5 or fields[3] != "*":
        return None
    minute, hour, day, _, weekday = fields
    days = _days_words(day, weekday)
    at = _clock_words(minute, hour)
    if days is None or at is None:
        return None
    return f"{at} {days}".strip() if days or not at.startswith("at ") else f"every day {at}"


def _clock_words(minute: str, hour: str) -> str | None:
    if minute.isdigit() and hour.isdigit():
        return f"at {int(hour):02d}:{int(minute):02d}"
    if hour == "*":
        if minute == "*":
            return "every minute"
        if minute.isdigit():
            return f"every hour at minute {int(minute)}"
        if minute.startswith("*/") and minute[2:].isdigit() and 60 % int(minute[2:]) == 0:
            return f"every {int(minute[2:])} minutes"
    if minute == "0" and hour.startswith("*/") and hour[2:].isdigit() and 24 % int(hour[2:]) == 0:
        return f"every {int(hour[2:])} hours"
    return None


def _days_words(day: str, weekday: str) -> str | None:
    if day == "*" and weekday == "*":
        return ""
    if weekday == "*":
        return f"on day {day} of every month" if day.isdigit() else None
    if day != "*":
        return None
    first, dash, last = weekday.lower().partition("-")
    if dash and {first, last} <= _DAYS.keys():
        return f"from {_DAYS[first]} to {_DAYS[last]}"
    names = [_DAYS.get(each) for each in weekday.lower().split(",")]
    known = [name for name in names if name is not None]
    return f"on {', '.join(known)}" if len(known) == len(names) else None
