"""Schedules as one text: a cron expression, an interval or a moment."""

import re

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.wiring import build_trigger, crontab, every

__all__ = ["read_schedule"]

_MOMENT = re.compile(r"\d{4}-?\d{2}-?\d{2}([T ].*)?", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d", re.ASCII)
_FORMS = (
    'a cron expression ("0 8 * * mon-fri", "@daily"), an interval ("5m", "2h") '
    'or a moment ("2026-12-24 18:00")'
)


def read_schedule(text: str, timezone: str) -> Trigger:
    """Return the trigger that a text means.

    Several words, or one that begins with `@`, are a cron expression; what begins like a date of
    ISO 8601 is a moment; one word else is an interval.

    Raises:
        InvalidInputError: it is none of these, or never fires.
    """
    text = text.strip()
    zone = {"timezone": timezone}
    if _MOMENT.fullmatch(text):
        return build_trigger("date", {"run_at": text, **zone})
    if text.startswith("@") or len(text.split()) > 1:
        return crontab(text, zone)
    if not _NUMBER.match(text):
        raise InvalidInputError(f"{text!r} is not a schedule; give {_FORMS}")
    return every(text, zone)
