"""What both spellings of cron come down to."""

from typing import NamedTuple

from tickwork.triggers.cron.days import DayRule, compiled_days
from tickwork.triggers.cron.readings import CronReadings

__all__ = ["CronSpec"]


class CronSpec(NamedTuple):
    """Days, and bit masks of the hours, minutes and seconds on each of them."""

    days: DayRule
    hours: int
    minutes: int
    seconds: int
    fixed: bool
    """Neither minute nor hour begins with `*`; see `wallclock`."""

    def readings(self) -> CronReadings | None:
        """Return the readings that these fields name, or None when no day is ever named."""
        days = compiled_days(self.days)
        if days.next(-1_000_000) is None:
            return None
        return CronReadings(days, self.hours, self.minutes, self.seconds)
