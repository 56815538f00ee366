"""Moments that people give: instants, or readings of a clock whose zone isn't known yet.

A moment is a datetime: aware and in UTC, or naive. A naive one is a reading; `settled` turns it
into an instant as soon as the zone is known. A reading that the clock skips is refused; one that it
shows twice means the first time, unless its `fold` is 1.
"""

from datetime import UTC, date, datetime, tzinfo

from tickwork.errors import InvalidTriggerError
from tickwork.model.instants import to_us
from tickwork.triggers.zones import zone_key

__all__ = [
    "moment_text",
    "read_anchor",
    "read_date",
    "read_moment",
    "settled",
    "shown",
    "us_of_moment",
]

# A reading's fold isn't part of ISO 8601; RFC 9557 leaves room for it in a bracket.
_FOLD = "[_fold=1]"


def read_moment(value: object, name: str) -> datetime | None:
    """Return the moment that a date, a datetime or an ISO 8601 text gives; None for None.

    A date is its midnight. `name` is the argument's, for the message.

    Raises:
        InvalidTriggerError: it isn't one of these, or not a reading that exists in its own zone.
    """
    if value is None:
        return None
    moment = _as_datetime(value, name)
    if moment.tzinfo is None:
        return moment
    if moment.tzinfo is UTC:
        return moment.replace(fold=0) if moment.fold else moment
    return settled(moment.replace(tzinfo=None), moment.tzinfo, name)


def read_anchor(value: object) -> datetime | None:
    """Return the instant from which a trigger counts; None for None. A naive one is in UTC."""
    moment = read_moment(value, "anchor")
    return None if moment is None else settled(moment, UTC, "anchor")


def read_date(value: object, name: str) -> date | None:
    """Return the date that a date or an ISO 8601 text gives; None for None."""
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        if isinstance(value, str):
            return date.fromisoformat(value.strip())
    except ValueError as error:
        raise _refused(name, value, "a date such as '2026-12-24'", error) from None
    raise _refused(name, value, "a date such as '2026-12-24'")


def settled(moment: datetime, zone: tzinfo, name: str) -> datetime:
    """Return the instant of `moment`, in UTC; a naive one is read in `zone`.

    Raises:
        InvalidTriggerError: clocks in `zone` never show this reading.
    """
    if moment.tzinfo is not None:
        return moment
    try:
        instant = moment.replace(tzinfo=zone).astimezone(UTC)
        shown_there = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    except OverflowError:
        raise InvalidTriggerError(f"{name} is out of range: {moment}") from None
    if shown_there != moment.replace(fold=0):
        raise InvalidTriggerError(
            f"{name} {_short(moment)} does not exist in {zone_name(zone)}: clocks are set forward "
            f"over it; give another time, or one with its UTC offset"
        )
    return instant


def us_of_moment(moment: datetime) -> int:
    """Return the instant in microseconds; a reading without a zone counts as UTC."""
    return to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def moment_text(moment: datetime) -> str:
    """Return the moment as `read_moment` takes it back."""
    return moment.isoformat() + (_FOLD if moment.tzinfo is None and moment.fold else "")


def shown(moment: datetime, zone: tzinfo | None) -> str:
    """Return the moment for people, on the clocks of `zone` where that is known."""
    if moment.tzinfo is None:
        return _short(moment)
    there = moment.astimezone(zone or UTC)
    return f"{_short(there.replace(tzinfo=None))} {zone_key(zone or UTC)}"


def zone_name(zone: tzinfo) -> str:
    """Return a name for messages, also of zones that could not be stored."""
    return str(getattr(zone, "key", None) or zone)


def _as_datetime(value: object, name: str) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a reading
    wanted = "a datetime, a date or a text such as '2026-12-24 18:00'"
    if not isinstance(value, str):
        raise _refused(name, value, wanted)
    try:
        moment = datetime.fromisoformat(value.strip().removesuffix(_FOLD))
    except ValueError as error:
        raise _refused(name, value, wanted, error) from None
    return moment.replace(fold=1) if value.strip().endswith(_FOLD) else moment


def _short(moment: datetime) -> str:
    exact = "minutes" if not (moment.second or moment.microsecond) else "auto"
    return moment.replace(tzinfo=None).isoformat(" ", exact)


def _refused(name: str, value: object, wanted: str, error: object = "") -> InvalidTriggerError:
    reason = f" ({error})" if error else ""
    return InvalidTriggerError(f"{name} must be {wanted}, not {value!r}{reason}")
