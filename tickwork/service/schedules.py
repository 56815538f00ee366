"""Schedules as people and programs say them: one text, or the name of a trigger and arguments."""

import re
from collections.abc import Mapping
from typing import Any

from tickwork.errors import InvalidInputError, InvalidTriggerError
from tickwork.interfaces import Trigger
from tickwork.wiring import build_trigger, crontab, every

__all__ = ["read_schedule", "read_trigger"]

_MOMENT = re.compile(r"\d{4}-?\d{2}-?\d{2}([T ].*)?", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d", re.ASCII)
_FORMS = (
    'a cron expression ("0 8 * * mon-fri", "@daily"), an interval ("5m", "2h") '
    'or a moment ("2026-12-24 18:00")'
)
_DEEPEST = 5


def read_schedule(text: str, timezone: str | None) -> Trigger:
    """Return the trigger that a text means.

    Several words, or one that begins with `@`, are a cron expression; what begins like a date of
    ISO 8601 is a moment; one word else is an interval.

    Raises:
        InvalidInputError: it is none of these, or never fires.
    """
    text = text.strip()
    zone = {} if timezone is None else {"timezone": timezone}
    if _MOMENT.fullmatch(text):
        return build_trigger("date", {"run_at": text, **zone})
    if text.startswith("@") or len(text.split()) > 1:
        return crontab(text, zone)
    if not _NUMBER.match(text):
        raise InvalidInputError(f"{text!r} is not a schedule; give {_FORMS}")
    return every(text, zone)


def read_trigger(alias: str, arguments: Mapping[str, Any], deep: int = 0) -> Trigger:
    """Return the trigger of a name and arguments that are data.

    Those of `and` and `or` are `triggers`: a list of `{"trigger": ..., "arguments": {...}}`.

    Raises:
        InvalidInputError: there is no such trigger, or it doesn't take such arguments.
    """
    given = dict(arguments)
    parts = given.get("triggers")
    if alias in {"and", "or"} and isinstance(parts, list):
        if deep > _DEEPEST:
            raise InvalidTriggerError(f"triggers within triggers go {_DEEPEST} deep at most")
        given["triggers"] = [_part(part, deep) for part in parts]
    return build_trigger(alias, given)


def _part(part: object, deep: int) -> Trigger:
    if isinstance(part, Mapping) and part.keys() <= {"trigger", "arguments"}:
        alias, arguments = part.get("trigger"), part.get("arguments", {})
        if isinstance(alias, str) and isinstance(arguments, Mapping):
            return read_trigger(alias, arguments, deep + 1)
    raise InvalidTriggerError(
        f"{part!r:.80} is no trigger; say each of them as "
        '{"trigger": "cron", "arguments": {"hour": 8}}'
    )
