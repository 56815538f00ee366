"""What fire times should be, found in other ways than the triggers find them.

`Window` is DESIGN section 4 written down on `datetime` and `zoneinfo` alone, reading by
reading; `fires_of_croniter` and `fires_of_cronsim` ask other libraries, croniter without what
it does otherwise than Debian's cron: fixed schedules in second passes, and `*/2` hours after gaps.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

CORRECTION = timedelta(hours=3)
MINUTE = timedelta(minutes=1)


def is_fixed(expression: str) -> bool:
    minute, hour = expression.split()[-5:-3]
    return not minute.startswith("*") and not hour.startswith("*")


def is_second_pass(local: datetime) -> bool:
    """Tell whether this reading was shown before, less than three hours ago."""
    first = local.replace(fold=0).utcoffset()
    second = local.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    return local.fold == 1 and timedelta(0) < first - second < CORRECTION


class Window:
    """The instants in (begin, end] of a zone, one per `step`, each with what clocks show then."""

    def __init__(
        self, zone: ZoneInfo, begin: datetime, end: datetime, step: timedelta = MINUTE
    ) -> None:
        self.begin, self.end, self.step = begin, end, step
        instants = (begin + step * n for n in range(1, (end - begin) // step + 1))
        self.shown = [(instant, instant.astimezone(zone)) for instant in instants]
        self.lost = list(self._lost(zone))

    def fires(self, matches: Callable[[datetime], bool], *, fixed: bool) -> list[datetime]:
        """Return the fire times of a schedule; `matches` judges naive readings."""
        found = {
            instant
            for instant, local in self.shown
            if matches(local.replace(tzinfo=None)) and not (fixed and is_second_pass(local))
        }
        if fixed:
            found.update(after_gap for reading, after_gap in self.lost if matches(reading))
        return sorted(found)

    def _lost(self, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        """Yield each reading that a gap of less than three hours skips, with the end of the gap."""
        local = [
            instant.astimezone(zone).replace(tzinfo=None) for instant in (self.begin, self.end)
        ]
        reading, last = min(local) - CORRECTION, max(local)
        while reading <= last:
            before = reading.replace(tzinfo=zone, fold=0).utcoffset()
            after = reading.replace(tzinfo=zone, fold=1).utcoffset()
            assert before is not None
            assert after is not None
            if timedelta(0) < after - before < CORRECTION:
                after_gap = first_instant_after_gap(zone, reading)
                if self.begin < after_gap <= self.end:
                    yield reading, after_gap
            reading += self.step


def first_instant_after_gap(zone: ZoneInfo, reading: datetime) -> datetime:
    """Return when clocks jumped over `reading`."""
    # With fold=1 the offset after the gap is used, which gives an instant before the jump.
    low = reading.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = reading.replace(tzinfo=zone, fold=0).astimezone(UTC)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def fires_of_croniter(expression: str, start: datetime, zone: ZoneInfo, n: int) -> list[datetime]:
    fires = croniter(
        expression,
        start.astimezone(zone),
        ret_type=datetime,
        implement_cron_bug=True,
        second_at_beginning=len(expression.split()) == 6,
    )
    kept = (fire.astimezone(UTC) for fire in fires if is_debians(expression, fire))
    return list(islice(kept, n))


def is_debians(expression: str, fire: datetime) -> bool:
    """Tell whether Debian's cron fires then, too, when croniter does."""
    if is_fixed(expression):
        return not is_second_pass(fire)
    # For hours like `*/2` croniter makes up a fire after a gap, though these are wildcards.
    six = len(expression.split()) == 6
    minutes, hours = croniter.expand(expression, second_at_beginning=six)[0][:2]
    shown = ((fire.minute, minutes), (fire.hour, hours))
    return all("*" in values or value in values for value, values in shown)


def fires_of_cronsim(expression: str, start: datetime, zone: ZoneInfo, n: int) -> list[datetime]:
    fires = CronSim(expression, start.astimezone(zone))
    return [fire.astimezone(UTC) for fire in islice(fires, n)]


def transitions(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the first instants of new offsets in (begin, end], to the second."""
    low = begin
    while low < end:
        high = min(low + timedelta(days=2), end)
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            yield _first_with_offset_of(zone, low, high)
        low = high


def _first_with_offset_of(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    after = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high
