"""The built-in kinds of triggers, by name: how a stored child of and/or is decoded by default."""

from collections.abc import Mapping
from typing import Any

from tickwork.errors import InvalidTriggerError
from tickwork.interfaces import Trigger
from tickwork.triggers.calendar_interval import CalendarIntervalTrigger
from tickwork.triggers.combining import AndTrigger, OrTrigger
from tickwork.triggers.cron.trigger import CronTrigger
from tickwork.triggers.interval import IntervalTrigger
from tickwork.triggers.once import DateTrigger
from tickwork.triggers.shutdown import ShutdownTrigger

__all__ = ["BUILT_IN", "load_trigger"]

BUILT_IN: Mapping[str, type[Trigger]] = {
    "and": AndTrigger,
    "calendar": CalendarIntervalTrigger,
    "cron": CronTrigger,
    "date": DateTrigger,
    "interval": IntervalTrigger,
    "or": OrTrigger,
    "shutdown": ShutdownTrigger,
}
"""Each built-in kind's class."""


def load_trigger(data: Mapping[str, Any]) -> Trigger:
    """Make a trigger of any built-in kind from its JSON data.

    Raises:
        InvalidTriggerError: the kind isn't built in, or the data isn't of that kind.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in BUILT_IN:
        raise InvalidTriggerError(f"No built-in trigger is of kind {kind!r}: {', '.join(BUILT_IN)}")
    return BUILT_IN[kind].from_json(data)
