"""The cron trigger: fields or a crontab's line, with bounds and a time zone."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any, ClassVar, Self

from tickwork.errors import InvalidTriggerError
from tickwork.model.instants import SECOND
from tickwork.triggers.base import MIN_S, call_text, checked, read_jitter
from tickwork.triggers.cron.crontab import canonical_crontab, spec_of_crontab
from tickwork.triggers.cron.fields import FIELD_NAMES, canonical_fields, spec_of_fields
from tickwork.triggers.interval import require_order
from tickwork.triggers.moments import moment_text, read_moment, settled, shown, us_of_moment
from tickwork.triggers.walled import WallClockTrigger
from tickwork.triggers.zones import read_zone, zone_key

__all__ = ["CronTrigger"]


class CronTrigger(WallClockTrigger):
    """Fire whenever the wall clock shows what the fields name.

    Fields are numbers or texts: `*`, `*/n`, `a-b`, `a-b/n`, lists; names of months and weekdays; in
    `day` also `last`, `2nd fri`, `last sun`. Weekday 0 is Monday. All fields must match; those
    finer than the finest one given are at their minimum, other missing ones are `*`. No fire is
    before `start_at` or after `end_at`; naive ones are read in `timezone`.

    Raises:
        InvalidTriggerError: a field can't be understood, or it never fires.
    """

    __slots__ = ("crontab", "end_at", "fields", "start_at")

    kind: ClassVar[str] = "cron"
    crontab: str | None
    """The expression, if it was made from one; then there are no fields."""
    fields: Mapping[str, str]
    """The fields that matter, in canonical form."""
    start_at: datetime | None
    end_at: datetime | None

    def __init__(
        self,
        *,
        year: int | str | None = None,
        month: int | str | None = None,
        day: int | str | None = None,
        week: int | str | None = None,
        day_of_week: int | str | None = None,
        hour: int | str | None = None,
        minute: int | str | None = None,
        second: int | str | None = None,
        start_at: date | str | None = None,
        end_at: date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | timedelta | None = None,
    ) -> None:
        given = {
            "year": year, "month": month, "day": day, "week": week, "day_of_week": day_of_week,
            "hour": hour, "minute": minute, "second": second,
        }  # fmt: skip
        self._set(crontab=None, fields=MappingProxyType(canonical_fields(given)))
        self._begin(start_at, end_at, timezone, jitter)

    @classmethod
    def from_crontab(
        cls,
        expression: str,
        timezone: tzinfo | str | None = None,
        *,
        seconds: bool | None = None,
        start_at: date | str | None = None,
        end_at: date | str | None = None,
        jitter: float | timedelta | None = None,
    ) -> Self:
        """Make a trigger from a crontab's five fields, six (seconds first), or a nickname.

        Weekdays are cron's (0 and 7 are Sunday); day of month and day of week are OR-ed when both
        are restricted. `seconds` tells whether six fields are asked for; None takes both.

        Raises:
            InvalidTriggerError: the expression can't be understood, or never fires.
        """
        trigger = object.__new__(cls)
        crontab = canonical_crontab(expression, seconds=seconds)
        trigger._set(crontab=crontab, fields=MappingProxyType({}))
        trigger._begin(start_at, end_at, timezone, jitter)
        return trigger

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make the trigger that `to_json` described.

        Raises:
            InvalidTriggerError: the data is of another kind or of an unknown version.
        """
        state = checked(cls, data)
        bounds = {name: state.get(name) for name in ("start_at", "end_at", "timezone")}
        if "crontab" in state:
            return cls.from_crontab(state["crontab"], **bounds)
        fields = state.get("fields")
        if not isinstance(fields, Mapping) or not set(fields) <= set(FIELD_NAMES):
            raise InvalidTriggerError(f"Data of a cron trigger without its fields: {data!r}")
        trigger = object.__new__(cls)
        trigger._set(crontab=None, fields=MappingProxyType(canonical_fields(fields)))
        trigger._begin(bounds["start_at"], bounds["end_at"], bounds["timezone"], None)
        return trigger

    def _begin(self, start_at: object, end_at: object, zone: object, jitter: object) -> None:
        self._set(
            start_at=read_moment(start_at, "start_at"),
            end_at=read_moment(end_at, "end_at"),
            timezone=read_zone(zone),
            jitter=read_jitter(jitter),
        )
        self._derive()

    def _derive(self) -> None:
        if self.timezone is not None:
            for name in ("start_at", "end_at"):
                if (moment := getattr(self, name)) is not None:
                    self._set(**{name: settled(moment, self.timezone, name)})
        require_order(self.start_at, self.end_at)
        if self.crontab is None:
            spec = spec_of_fields(tuple(self.fields.items()))
        else:
            spec = spec_of_crontab(self.crontab)
        self._read(
            spec.readings(),
            fixed=spec.fixed,
            start_us=us_of_moment(self.start_at) if self.start_at else None,
            end_us=us_of_moment(self.end_at) if self.end_at else None,
        )
        if self.next_us(MIN_S * SECOND - 1) is None:
            raise InvalidTriggerError(
                f"{self} never fires: no such date or time exists{self._within()}; check day, "
                f"month, week and year against each other"
            )

    def _within(self) -> str:
        return " from start_at to end_at" if self.start_at or self.end_at else ""

    def _state(self) -> dict[str, Any]:
        return {
            "crontab": self.crontab,
            "fields": dict(self.fields) or None,
            "start_at": self.start_at and moment_text(self.start_at),
            "end_at": self.end_at and moment_text(self.end_at),
            "timezone": self.timezone and zone_key(self.timezone),
        }

    def _spelled(self) -> str:
        state = {**self._state(), "crontab": None, "fields": None}
        if self.crontab is None:
            return call_text("CronTrigger", {**self.fields, **state})
        bounds = call_text("", state)[1:]
        return f"CronTrigger.from_crontab({self.crontab!r}{', ' if len(bounds) > 1 else ''}{bounds}"

    def __str__(self) -> str:
        fields = " ".join(f"{name}={_quoted(text)}" for name, text in self.fields.items())
        zone = f" ({zone_key(self.timezone)})" if self.timezone else ""
        start = f" from {shown(self.start_at, self.timezone)}" if self.start_at else ""
        end = f" until {shown(self.end_at, self.timezone)}" if self.end_at else ""
        return f"cron {self.crontab or fields}{zone}{start}{end}"


def _quoted(text: str) -> str:
    return repr(text) if " " in text else text
