"""Cron as a line of a crontab: five fields, or six with the seconds first, or a nickname.

croniter reads and validates the expression; what it says is turned into bit masks. Before that,
what croniter would take but read in another way than Debian's cron (3.0pl1), the reference, is put
right or refused: `a-a` is one value, ranges of numbers that run backwards are refused (but the
Sunday that is 7), random (`R`), hashed (`H`) and nearest-weekday (`W`) terms and years are refused.

Weekdays: 0 and 7 are Sunday. Day of month and day of week are OR-ed when both are restricted, and
AND-ed when either begins with `*`. A day of month with an `#` or `L` weekday is OR-ed too.
"""

import re
from functools import lru_cache
from typing import NoReturn

from tickwork.errors import InvalidTriggerError
from tickwork.triggers.cron.days import LAST, DayRule
from tickwork.triggers.cron.spec import CronSpec

__all__ = ["canonical_crontab", "spec_of_crontab"]

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST = 1000
_FORM = "minute hour day month weekday"
_NAMES = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_RANGE = re.compile(r"(?P<first>\w+)-(?P<last>\w+)(?P<step>/\d+)?(?P<place>#\d+)?", re.ASCII)
_MONTHS = ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAY = rf"[0-7]|{'|'.join(_NAMES)}"
_LAST_WEEKDAY = re.compile(rf"l(?P<after>{_WEEKDAY})|(?P<before>{_WEEKDAY})l")
_ODD = re.compile(r"[hr](?:\([^)]*\))?(?:/\d+)?|\d*w\d*|lw|wl")


def canonical_crontab(expression: object, *, seconds: bool | None = None) -> str:
    """Return the expression as it is stored: five fields, or six where the seconds matter.

    `seconds` tells whether six fields are asked for; None takes both.

    Raises:
        InvalidTriggerError: it has another number of fields, or a term that isn't understood.
    """
    if not isinstance(expression, str):
        raise InvalidTriggerError(f"A cron expression must be a text, not {expression!r}")
    if len(expression) > _LONGEST:
        raise InvalidTriggerError(f"A cron expression has at most {_LONGEST} characters")
    text = expression.strip().lower()
    if text.startswith("@"):
        return _nickname(text)
    fields = text.split()
    _require_fields(expression, fields, seconds=seconds)
    fields = [_plain(expression, field) for field in fields]
    fields[-1] = ",".join(_weekday_term(term) for term in fields[-1].split(","))
    if len(fields) == 6 and fields[0].lstrip("0") == "":
        del fields[0]
    canonical = " ".join(fields)
    spec_of_crontab(canonical)
    return canonical


@lru_cache(maxsize=1024)
def spec_of_crontab(canonical: str) -> CronSpec:
    """Return what a canonical expression means.

    Raises:
        InvalidTriggerError: croniter refuses it.
    """
    # Imported late: croniter takes longer to import than all of tickwork's triggers.
    from croniter import croniter

    texts = canonical.split()
    try:
        expanded, places = croniter.expand(canonical, second_at_beginning=len(texts) == 6)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        _refuse(canonical, str(error).strip().splitlines()[-1])
    minute, hour, day, month, weekday = (_values(values) for values in expanded[:5])
    by_name = dict(zip(("minute", "hour", "day", "month", "weekday"), texts[-5:], strict=True))
    placed = _weekday_places(places)
    rule = DayRule(
        months=_mask(month, 1, 12),
        days=_mask(day, 1, 31),
        last_day="l" in day,
        weekdays=0 if placed else _monday_first(_mask(weekday, 0, 6)),
        weekday_places=placed,
        either=not by_name["day"].startswith("*") and not by_name["weekday"].startswith("*"),
    )
    return CronSpec(
        rule,
        hours=_mask(hour, 0, 23),
        minutes=_mask(minute, 0, 59),
        seconds=_mask(_values(expanded[5]), 0, 59) if len(expanded) == 6 else 1,
        fixed=not by_name["minute"].startswith("*") and not by_name["hour"].startswith("*"),
    )


def _nickname(text: str) -> str:
    if text not in _NICKNAMES:
        more = (
            "; to run something at start, call it there, or add_task() it without a trigger"
            if text == "@reboot"
            else ""
        )
        _refuse(text, f"nicknames are {', '.join(_NICKNAMES)}{more}")
    return _NICKNAMES[text]


def _require_fields(expression: str, fields: list[str], *, seconds: bool | None) -> None:
    allowed = {None: (5, 6), False: (5,), True: (6,)}[seconds]
    if len(fields) in allowed:
        return
    wanted = {
        None: f"5 ({_FORM}), or 6 with the seconds first, are needed",
        False: f"5 ({_FORM}) are needed; a sixth for the seconds isn't asked for here",
        True: f"6 (second {_FORM}) are needed",
    }[seconds]
    _refuse(expression, f"it has {len(fields)} fields, but {wanted}")


def _plain(expression: str, field: str) -> str:
    return ",".join(_plain_term(expression, term) for term in field.replace("?", "*").split(","))


def _plain_term(expression: str, term: str) -> str:
    if _ODD.fullmatch(term):
        _refuse(expression, f"{term!r} isn't supported (no W, H or R); name the days or times")
    match = _RANGE.fullmatch(term)
    if not match:
        return term
    first, last = (int(end) if end.isdigit() else end for end in (match["first"], match["last"]))
    if first == last:
        # croniter reads a-a as the whole cycle, cron as a.
        return f"{first}{match['place'] or ''}"
    if isinstance(first, int) and isinstance(last, int):
        if first > last:
            _refuse(expression, f"the range {term!r} runs backwards; write two ranges instead")
    elif match["step"] and _position(first) > _position(last):
        _refuse(expression, f"{term!r} wraps around and has a step; list the values instead")
    return term


def _position(word: int | str) -> int:
    """Return where a weekday or a month stands in its cycle."""
    names = _NAMES if word in _NAMES else _MONTHS
    return int(word) if isinstance(word, int) else names.index(word) if word in names else 0


def _weekday_term(term: str) -> str:
    """Return a weekday's last occurrence as croniter spells it, other terms as they are."""
    match = _LAST_WEEKDAY.fullmatch(term)
    if not match:
        return term
    word = match["after"] or match["before"]
    return f"l{word if word.isdigit() else _NAMES.index(word)}"


def _values(expanded: object) -> list[int | str]:
    return list(expanded) if isinstance(expanded, list) else []


def _mask(values: list[int | str], first: int, last: int) -> int:
    chosen = range(first, last + 1) if "*" in values else (v for v in values if isinstance(v, int))
    return sum({1 << value for value in chosen})


def _monday_first(sunday_first: int) -> int:
    return sunday_first >> 1 | (sunday_first & 1) << 6


def _weekday_places(places: object) -> frozenset[tuple[int, int]]:
    found = set()
    for weekday, numbers in dict(places).items() if isinstance(places, dict) else ():
        for number in numbers:
            for each in range(7) if weekday == "*" else (int(weekday),):
                found.add(((each - 1) % 7, LAST if number == "l" else int(number)))
    return frozenset(found)


def _refuse(expression: str, reason: str) -> NoReturn:
    raise InvalidTriggerError(
        f"Invalid cron expression {expression!r}: {reason}. Write it like '0 8 * * mon-fri'"
    )
