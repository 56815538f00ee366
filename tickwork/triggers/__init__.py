"""When to fire: cron, interval, date, calendar, shutdown, and their combinations. All pure."""

from tickwork.triggers.calendar_interval import CalendarIntervalTrigger
from tickwork.triggers.combining import AndTrigger, OrTrigger
from tickwork.triggers.cron.trigger import CronTrigger
from tickwork.triggers.durations import parse_interval
from tickwork.triggers.interval import IntervalTrigger
from tickwork.triggers.once import DateTrigger
from tickwork.triggers.shutdown import ShutdownTrigger

__all__ = [
    "AndTrigger",
    "CalendarIntervalTrigger",
    "CronTrigger",
    "DateTrigger",
    "IntervalTrigger",
    "OrTrigger",
    "ShutdownTrigger",
    "parse_interval",
]
