"""Intervals as people write them: a number of seconds, or a whole number with a unit.

There is one grammar, so that whatever takes an interval refuses the same texts. A text without a
unit is refused: whether "60" means seconds or minutes is anybody's guess.
"""

import math
import re
from datetime import timedelta
from typing import NoReturn

from tickwork.errors import InvalidTriggerError
from tickwork.model.instants import SECOND, us_of

__all__ = ["duration_text", "interval_us", "parse_interval", "positive_us"]

_TEXT = re.compile(r"(\d+)([smhdw])", re.ASCII | re.IGNORECASE)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST_US = 10_000 * 366 * 86_400 * SECOND
_SHOWN = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_ADVICE = "Use a number of seconds, or a text like '1h', '30m', '90s', '2d', '1w'"


def parse_interval(value: str | float | timedelta) -> float:
    """Return an interval in seconds, from a number of seconds or a text such as "1h".

    Units are s, m, h, d and w; case and outer blanks don't matter.

    Raises:
        InvalidTriggerError: a ValueError; it isn't an interval, or not a positive one.
    """
    return interval_us(value) / SECOND


def interval_us(value: object) -> int:
    """Return an interval in whole microseconds; the same values as in `parse_interval`.

    Raises:
        InvalidTriggerError: it isn't an interval, or not between 1 microsecond and 10,000 years.
    """
    if isinstance(value, str):
        return positive_us(_text_us(value), value)
    if isinstance(value, timedelta):
        return positive_us(us_of(value), value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse_format(value)
    if isinstance(value, float) and not math.isfinite(value):
        _refuse_format(value)
    if 0 < value < 1 / SECOND:
        raise InvalidTriggerError(f"Interval is too short: {value!r}. Give 1 microsecond or more")
    return positive_us(_number_us(value), value)


def positive_us(duration_us: int, given: object) -> int:
    """Return a duration that an interval may have; `given` is how it was given.

    Raises:
        InvalidTriggerError: it isn't between 1 microsecond and 10,000 years.
    """
    if duration_us <= 0:
        raise InvalidTriggerError(f"Interval must be positive, not {_short(given)}. {_ADVICE}")
    if duration_us > _LONGEST_US:
        raise InvalidTriggerError(f"Interval is too long: {_short(given)}. Stay below 10,000 years")
    return duration_us


def duration_text(duration_us: int) -> str:
    """Return a duration for people, in the largest unit that is exact: "5 minutes", "hour"."""
    for unit_s, name in _SHOWN:
        if not duration_us % (unit_s * SECOND):
            count = duration_us // (unit_s * SECOND)
            return name if count == 1 else f"{count} {name}s"
    whole, rest = divmod(duration_us, SECOND)
    return f"{whole}.{rest:06d}".rstrip("0") + " seconds"


def _number_us(value: float) -> int:
    # Integers stay exact at any size; a float's fraction is rounded apart from its whole part.
    if isinstance(value, int):
        return value * SECOND
    whole = int(value)
    return whole * SECOND + round((value - whole) * SECOND)


def _text_us(text: str) -> int:
    match = _TEXT.fullmatch(text.strip())
    if not match:
        _refuse_format(text)
    digits, unit = match.groups()
    # The bound on the digits keeps int() cheap; every such number is far too long anyway.
    return int(digits.lstrip("0")[:20] or 0) * _UNIT_S[unit.lower()] * SECOND


def _refuse_format(value: object) -> NoReturn:
    raise InvalidTriggerError(f"Invalid interval format: {_short(value)}. {_ADVICE}")


def _short(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 100:
        return f"an integer of {value.bit_length()} bits"
    text = str(value) if isinstance(value, timedelta) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
