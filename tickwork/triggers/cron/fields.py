"""Cron in keyword form: the field grammar that APScheduler's users know.

A field is a list of terms: `*`, `*/n`, `a`, `a/n`, `a-b`, `a-b/n`; names for months and weekdays;
in `day` also `last`, `2nd fri`, `last sun`. Weekday 0 is Monday. A day must match every field.
Fields finer than the finest one given are at their minimum, all other missing ones are `*`.
Source: APScheduler 3, `CronTrigger`.

We differ where its grammar takes what it then misreads: ranges of numbers that wrap around are
refused, ranges of names that do (`fri-mon`) mean what they say, and names may have steps.

Canonical texts, as stored: names where there are names, and no field that goes without saying.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, NoReturn

from tickwork.errors import InvalidTriggerError
from tickwork.triggers.cron.days import LAST, DayRule
from tickwork.triggers.cron.spec import CronSpec

__all__ = ["FIELD_NAMES", "canonical_fields", "spec_of_fields"]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PLACES = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": LAST}


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    default: str
    """What the field is when a coarser one is the finest given."""
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("year", 1970, 9999, "*"),
    _Field("month", 1, 12, "jan", MONTHS),
    _Field("day", 1, 31, "1"),
    _Field("week", 1, 53, "*"),
    _Field("day_of_week", 0, 6, "*", WEEKDAYS),
    _Field("hour", 0, 23, "0"),
    _Field("minute", 0, 59, "0"),
    _Field("second", 0, 59, "0"),
)
FIELD_NAMES = tuple(field.name for field in _FIELDS)
"""The names of the fields, from the coarsest to the finest."""

_TERM = re.compile(
    r"(?P<all>\*)(?:/(?P<all_step>\d{1,9}))?"
    r"|(?P<first>\d{1,9}|[a-z]+)(?:-(?P<last>\d{1,9}|[a-z]+))?(?:/(?P<step>\d{1,9}))?"
    rf"|(?P<place>{'|'.join(_PLACES)})\s+(?P<weekday>[a-z]+)",
    re.ASCII,
)


class _Parsed(NamedTuple):
    text: str
    values: int = 0
    last_day: bool = False
    places: frozenset[tuple[int, int]] = frozenset()


def canonical_fields(given: Mapping[str, object]) -> dict[str, str]:
    """Return the texts of the fields that matter, from those given (None: not given).

    Raises:
        InvalidTriggerError: there is none, or one can't be understood.
    """
    texts = [_canonical(field, given.get(field.name)) for field in _FIELDS]
    finest = max((place for place, text in enumerate(texts) if text), default=None)
    if finest is None:
        raise InvalidTriggerError(
            f"A cron trigger needs at least one of {', '.join(FIELD_NAMES)}, such as hour=8"
        )
    full = _filled(texts, finest)
    finest = _finest_that_matters(full)
    return {
        field.name: text
        for place, (field, text) in enumerate(zip(_FIELDS, full[: finest + 1], strict=False))
        if place == finest or text != "*"
    }


def _filled(texts: Sequence[str], finest: int) -> list[str]:
    """Return the texts of all fields, when the finest one given is at place `finest`."""
    return [
        text or ("*" if place < finest else field.default)
        for place, (field, text) in enumerate(zip(_FIELDS, texts, strict=True))
    ]


def _finest_that_matters(full: Sequence[str]) -> int:
    """Return up to where fields must be given, so that the finer ones go without saying.

    There may be several such places (`day=1` is `month=*`); one that says something is preferred.
    """
    places = [len(full) - 1]
    while places[-1] and full[places[-1]] == _FIELDS[places[-1]].default:
        places.append(places[-1] - 1)
    if len(places) > 1:
        del places[0]
    return min((place for place in places if full[place] != "*"), default=places[0])


@lru_cache(maxsize=1024)
def spec_of_fields(fields: tuple[tuple[str, str], ...]) -> CronSpec:
    """Return what canonical fields mean."""
    given = dict(fields)
    finest = max(FIELD_NAMES.index(name) for name in given)
    full = _filled([given.get(name, "") for name in FIELD_NAMES], finest)
    texts = dict(zip(FIELD_NAMES, full, strict=True))
    parsed = {field.name: _parse(field, texts[field.name]) for field in _FIELDS}
    day = parsed["day"]
    rule = DayRule(
        months=parsed["month"].values,
        days=day.values,
        last_day=day.last_day,
        day_places=day.places,
        weekdays=parsed["day_of_week"].values,
        weeks=None if texts["week"] == "*" else parsed["week"].values,
        years=None if texts["year"] == "*" else parsed["year"].values,
    )
    fixed = not texts["hour"].startswith("*") and not texts["minute"].startswith("*")
    hours, minutes, seconds = (parsed[name].values for name in ("hour", "minute", "second"))
    return CronSpec(rule, hours, minutes, seconds, fixed)


def _canonical(field: _Field, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidTriggerError(f"{field.name} must be a number or a text, not {value!r}")
    if isinstance(value, int) and value.bit_length() > 64:
        raise InvalidTriggerError(f"{field.name} must be from {field.first} to {field.last}")
    return _parse(field, str(value)).text


@lru_cache(maxsize=1024)
def _parse(field: _Field, text: str) -> _Parsed:
    terms = [_term(field, term.strip(), text) for term in text.lower().split(",")]
    values = 0
    for term in terms:
        values |= term.values
    return _Parsed(
        text=",".join(dict.fromkeys(term.text for term in terms)),
        values=values,
        last_day=any(term.last_day for term in terms),
        places=frozenset().union(*(term.places for term in terms)),
    )


def _term(field: _Field, term: str, text: str) -> _Parsed:
    if field.name == "day" and term == "last":
        return _Parsed("last", last_day=True)
    match = _TERM.fullmatch(term)
    if not match:
        _refuse(field, text, f"{term!r} can't be understood")
    if match["all"]:
        return _stepped(field, text, _Bounds(field.first, field.last, "*"), match["all_step"])
    if match["place"]:
        return _placed(field, text, match["place"], match["weekday"])
    first = _value(field, text, match["first"])
    if match["last"] is None:
        last = field.last if match["step"] else first
        bounds = _Bounds(first, last, _shown(field, first))
        return _stepped(field, text, bounds, match["step"])
    return _ranged(field, text, match)


class _Bounds(NamedTuple):
    first: int
    last: int
    text: str


def _ranged(field: _Field, text: str, match: re.Match[str]) -> _Parsed:
    first, last = (_value(field, text, match[name]) for name in ("first", "last"))
    shown = f"{_shown(field, first)}-{_shown(field, last)}"
    if first <= last:
        return _stepped(field, text, _Bounds(first, last, shown), match["step"])
    if match["first"].isdigit() or match["last"].isdigit():
        _refuse(field, text, f"the range {match[0]!r} runs backwards; write two ranges instead")
    if match["step"]:
        _refuse(field, text, f"{match[0]!r} wraps around and has a step; list the values instead")
    values = _mask(first, field.last) | _mask(field.first, last)
    return _Parsed(shown, values)


def _stepped(field: _Field, text: str, bounds: _Bounds, step: str | None) -> _Parsed:
    if step is None:
        return _Parsed(bounds.text, _mask(bounds.first, bounds.last))
    if not 0 < int(step) <= max(bounds.last - bounds.first, 1):
        _refuse(
            field,
            text,
            f"the step {step} must be from 1 to {max(bounds.last - bounds.first, 1)}; for longer "
            f"times use a coarser field, or an interval trigger",
        )
    values = _mask(bounds.first, bounds.last, int(step))
    return _Parsed(f"{bounds.text}/{int(step)}", values)


def _placed(field: _Field, text: str, place: str, weekday: str) -> _Parsed:
    if field.name != "day":
        _refuse(field, text, f"{place} {weekday} belongs to the field day")
    if weekday not in WEEKDAYS:
        _refuse(field, text, f"{weekday!r} is no weekday; use {', '.join(WEEKDAYS)}")
    pair = (WEEKDAYS.index(weekday), _PLACES[place])
    return _Parsed(f"{place} {weekday}", places=frozenset({pair}))


def _value(field: _Field, text: str, word: str) -> int:
    if word.isdigit():
        if not field.first <= int(word) <= field.last:
            _refuse(field, text, f"{word} is not from {field.first} to {field.last}")
        return int(word)
    if word not in field.names:
        _refuse(field, text, f"{word!r} is not known")
    return field.names.index(word) + field.first


def _shown(field: _Field, value: int) -> str:
    return field.names[value - field.first] if field.names else str(value)


def _mask(first: int, last: int, step: int = 1) -> int:
    return sum(1 << value for value in range(first, last + 1, step))


def _refuse(field: _Field, text: str, reason: str) -> NoReturn:
    names = f" (also {field.names[0]}-{field.names[-1]})" if field.names else ""
    more = ", 'last', '2nd fri', 'last sun'" if field.name == "day" else ""
    raise InvalidTriggerError(
        f"{field.name}={text!r}: {reason}. Numbers are from {field.first} to {field.last}{names}; "
        f"terms are '*', '*/5', '1-5', '1-9/2'{more} and lists of them"
    )
