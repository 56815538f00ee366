"""What all built-in triggers share: they are frozen values, and compute in microseconds.

A trigger's meaning is its JSON form: two of one class are equal when these are, so whatever must
not count (jitter, the way it was spelled) simply stays out of it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Self

from tickwork.errors import InvalidTriggerError
from tickwork.model.instants import from_us, to_us

__all__ = [
    "LONGEST_S",
    "MAX_S",
    "MIN_S",
    "Schedule",
    "Timetable",
    "call_text",
    "checked",
    "read_jitter",
    "seconds_of",
]

MIN_S = int((datetime(1, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
"""The first second that a datetime can show."""

MAX_S = int((datetime(9999, 12, 31, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
MAX_S += 86_399
"""The last second that a datetime can show; nothing fires after it."""

LONGEST_S = MAX_S - MIN_S
"""No duration between two datetimes is longer."""


class Schedule:
    """A frozen value with a JSON form; the base of every built-in trigger."""

    __slots__ = ("jitter",)

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    jitter: float | None
    """Seconds; for the task to take over. No part of fire times, JSON and equality."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON data from which `from_json` makes an equal trigger."""
        state = {name: value for name, value in self._state().items() if value is not None}
        return {"kind": self.kind, "version": self.version, **state}

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _spelled(self) -> str:
        raise NotImplementedError

    def _derive(self) -> None:
        """Compute what the arithmetic needs from the attributes that define the trigger."""

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, **changes: object) -> Self:
        kind: type = type(self)
        other: Self = object.__new__(kind)
        for name in _slots(kind):
            value = changes[name] if name in changes else getattr(self, name)
            object.__setattr__(other, name, value)
        other._derive()
        return other

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one to change {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} can't be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule) or type(self) is not type(other):
            return NotImplemented
        return self is other or self._state() == other._state()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))

    def __repr__(self) -> str:
        return self._spelled()

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self), self.to_json(), self.jitter)


@lru_cache(maxsize=64)
def _slots(kind: type) -> tuple[str, ...]:
    """Return all slots of a class: tasks that count from when they began are anchored each time."""
    return tuple(slot for each in kind.__mro__ for slot in getattr(each, "__slots__", ()))


class Timetable(Schedule):
    """A schedule that answers in microseconds, and in datetimes by converting."""

    __slots__ = ()

    def next_us(self, after_us: int) -> int | None:
        """Return the first fire time strictly after `after_us`, or None for never."""
        raise NotImplementedError

    def last_us(self, at_us: int) -> int | None:
        """Return the last fire time at or before `at_us`, or None where there is none."""
        raise NotImplementedError

    def count_us(self, after_us: int, until_us: int) -> int:
        """Return how many fire times lie in (`after_us`, `until_us`]."""
        raise NotImplementedError

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first fire time strictly after an aware instant, in UTC, or None."""
        found = self.next_us(to_us(after))
        return None if found is None else from_us(found)

    def last_fire_time(self, at: datetime) -> datetime | None:
        """Return the last fire time at or before an aware instant, in UTC, or None."""
        found = self.last_us(to_us(at))
        return None if found is None else from_us(found)

    def count_between(self, after: datetime, until: datetime) -> int:
        """Return how many fire times lie strictly after `after` and at or before `until`."""
        return self.count_us(to_us(after), to_us(until))


def read_jitter(value: object) -> float | None:
    """Return a jitter in seconds.

    Raises:
        InvalidTriggerError: it is neither None nor a finite number of seconds that isn't negative.
    """
    if value is None:
        return None
    if (seconds := seconds_of(value)) is None:
        raise InvalidTriggerError(f"jitter must be a number of seconds, 0 or more, not {value!r}")
    return seconds


def seconds_of(value: object) -> float | None:
    """Return a number or a timedelta as seconds; None if it isn't finite and 0 or more."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return float(seconds) if 0 <= seconds <= LONGEST_S else None


def checked(cls: type[Schedule], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state within a trigger's JSON data.

    Raises:
        InvalidTriggerError: it is of another kind, or of a version that isn't known here.
    """
    if data.get("kind") != cls.kind:
        raise InvalidTriggerError(f"Not the data of a trigger of kind {cls.kind!r}: {data!r}")
    if data.get("version") != cls.version:
        raise InvalidTriggerError(
            f"Data of a {cls.kind!r} trigger has version {data.get('version')!r}; "
            f"this release of tickwork reads version {cls.version}"
        )
    return {name: value for name, value in data.items() if name not in {"kind", "version"}}


def call_text(name: str, arguments: Mapping[str, object]) -> str:
    """Return the call that makes a value, leaving out the arguments that are None."""
    given = (f"{key}={value!r}" for key, value in arguments.items() if value is not None)
    return f"{name}({', '.join(given)})"


def _revived(cls: Any, data: dict[str, Any], jitter: float | None) -> Any:
    trigger = cls.from_json(data)
    object.__setattr__(trigger, "jitter", jitter)
    return trigger
