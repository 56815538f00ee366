"""A single fire, at a given time or as soon as it is anchored."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Self

from tickwork.triggers.base import Timetable, call_text, checked, read_jitter
from tickwork.triggers.moments import (
    moment_text,
    read_anchor,
    read_moment,
    settled,
    shown,
    us_of_moment,
)
from tickwork.triggers.zones import read_zone, zone_key

__all__ = ["DateTrigger"]


class DateTrigger(Timetable):
    """Fire once, at `run_at`; without it, at the anchor, and never while there is none.

    `timezone` is where a naive `run_at` is read; a date is its midnight.

    Raises:
        InvalidTriggerError: `run_at` can't be understood, or doesn't exist in its time zone.
    """

    __slots__ = ("_run_us", "anchor", "run_at", "timezone")

    kind: ClassVar[str] = "date"
    run_at: datetime | None
    anchor: datetime | None
    timezone: tzinfo | None
    _run_us: int | None

    def __init__(
        self,
        run_at: date | str | None = None,
        timezone: tzinfo | str | None = None,
        *,
        jitter: float | timedelta | None = None,
    ) -> None:
        self._set(
            run_at=read_moment(run_at, "run_at"),
            anchor=None,
            timezone=read_zone(timezone),
            jitter=read_jitter(jitter),
        )
        self._derive()

    def anchored(self, at: datetime) -> Self:
        """Return this trigger firing at `at`; itself where it has a time of its own."""
        if self.run_at is not None or self.anchor is not None:
            return self
        return self._with(anchor=read_anchor(at))

    def in_timezone(self, zone: tzinfo | str) -> Self:
        """Return this trigger with a naive `run_at` read in `zone`; itself where it isn't naive."""
        if self.run_at is None or self.run_at.tzinfo or self.timezone is not None:
            return self
        return self._with(timezone=read_zone(zone))

    def next_us(self, after_us: int) -> int | None:
        """Return the fire time if it is strictly after `after_us`, else None."""
        return self._run_us if self._run_us is not None and self._run_us > after_us else None

    def last_us(self, at_us: int) -> int | None:
        """Return the fire time if it is at or before `at_us`, else None."""
        return self._run_us if self._run_us is not None and self._run_us <= at_us else None

    def count_us(self, after_us: int, until_us: int) -> int:
        """Return 1 if the fire time lies in (`after_us`, `until_us`], else 0."""
        return int(self._run_us is not None and after_us < self._run_us <= until_us)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make the trigger that `to_json` described.

        Raises:
            InvalidTriggerError: the data is of another kind or of an unknown version.
        """
        state = checked(cls, data)
        trigger = cls(state.get("run_at"), state.get("timezone"))
        return trigger._with(anchor=read_anchor(state.get("anchor")))

    def _derive(self) -> None:
        if self.run_at is not None and self.timezone is not None:
            self._set(run_at=settled(self.run_at, self.timezone, "run_at"))
        moment = self.run_at or self.anchor
        self._set(_run_us=None if moment is None else us_of_moment(moment))

    def _state(self) -> dict[str, Any]:
        return {
            "run_at": self.run_at and moment_text(self.run_at),
            "anchor": self.anchor and moment_text(self.anchor),
            "timezone": self.timezone and zone_key(self.timezone),
        }

    def _spelled(self) -> str:
        call = call_text("DateTrigger", {**self._state(), "anchor": None})
        return f"{call}.anchored({moment_text(self.anchor)!r})" if self.anchor else call

    def __str__(self) -> str:
        moment = self.run_at or self.anchor
        return "once, now" if moment is None else f"once at {shown(moment, self.timezone)}"
