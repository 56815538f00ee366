"""Triggers made of triggers.

`OrTrigger` fires whenever one of them does. `AndTrigger` fires when all of them do, at nearly the
same time: at an instant `e` that is a fire time of one child while every other child has one in
[`e`, `e + threshold`]. That is the earliest of the matched times, as in APScheduler 4. The rule
needs no memory of earlier fires, so a child that fires more often than the threshold may match
several times.

Whether such a time exists can't be computed in general. The search asks the children a bounded
number of times, and then says so instead of going on.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, ClassVar, Self

from tickwork.errors import InvalidTriggerError
from tickwork.interfaces import Anchored, Trigger, Zoned
from tickwork.triggers.base import Schedule, checked, read_jitter, seconds_of

__all__ = ["AndTrigger", "Load", "OrTrigger"]

Load = Callable[[Mapping[str, Any]], Trigger]
"""What makes a child trigger from its JSON data."""

_MAX_QUESTIONS = 10_000
_INSTANT = timedelta(microseconds=1)


class _Combined(Schedule):
    __slots__ = ("triggers",)

    triggers: tuple[Trigger, ...]

    def anchored(self, at: datetime) -> Self:
        """Return this trigger with each child counting from `at` that has no anchor yet."""
        return self._mapped(lambda t: t.anchored(at) if isinstance(t, Anchored) else t)

    def in_timezone(self, zone: tzinfo) -> Self:
        """Return this trigger with each child reading in `zone` that has no zone yet."""
        return self._mapped(lambda t: t.in_timezone(zone) if isinstance(t, Zoned) else t)

    def _mapped(self, change: Callable[[Trigger], Trigger]) -> Self:
        triggers = tuple(change(trigger) for trigger in self.triggers)
        same = all(new is old for new, old in zip(triggers, self.triggers, strict=True))
        return self if same else self._with(triggers=triggers)

    def _state(self) -> dict[str, Any]:
        return {"triggers": [trigger.to_json() for trigger in self.triggers]}

    def _listed(self) -> str:
        return "; ".join(str(trigger) for trigger in self.triggers)


class OrTrigger(_Combined):
    """Fire whenever one of `triggers` does, once where several do at the same instant.

    Raises:
        InvalidTriggerError: `triggers` is empty or holds something else.
    """

    __slots__ = ()

    kind: ClassVar[str] = "or"

    def __init__(
        self, triggers: Iterable[Trigger], *, jitter: float | timedelta | None = None
    ) -> None:
        self._set(triggers=_children(triggers), jitter=read_jitter(jitter))

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first fire time of any child strictly after an aware instant, in UTC."""
        times = (trigger.next_fire_time(after) for trigger in self.triggers)
        return min((time for time in times if time is not None), default=None)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], load: Load | None = None) -> Self:
        """Make the trigger that `to_json` described; `load` decodes the children.

        Raises:
            InvalidTriggerError: the data, or a child's, is of an unknown kind or version.
        """
        return cls(_loaded(checked(cls, data), load))

    def _spelled(self) -> str:
        return f"OrTrigger({list(self.triggers)!r})"

    def __str__(self) -> str:
        return f"any of ({self._listed()})"


class AndTrigger(_Combined):
    """Fire when all of `triggers` do, within `threshold` seconds of each other.

    Fires at the earliest of the matched times. A child without further fire times ends it.

    Raises:
        InvalidTriggerError: `triggers` is empty or holds something else, or `threshold` isn't a
            finite number of seconds, 0 or more.
    """

    __slots__ = ("threshold",)

    kind: ClassVar[str] = "and"
    threshold: float

    def __init__(
        self,
        triggers: Iterable[Trigger],
        threshold: float | timedelta = 1.0,
        *,
        jitter: float | timedelta | None = None,
    ) -> None:
        self._set(
            triggers=_children(triggers), threshold=_seconds(threshold), jitter=read_jitter(jitter)
        )

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first common fire time strictly after an aware instant, in UTC, or None.

        Raises:
            InvalidTriggerError: the children didn't agree within 10,000 questions.
        """
        threshold = timedelta(seconds=self.threshold)
        times = [trigger.next_fire_time(after) for trigger in self.triggers]
        asked = len(times)
        while asked < _MAX_QUESTIONS:
            known = [time for time in times if time is not None]
            if len(known) < len(times):
                return None
            if max(known) - min(known) <= threshold:
                return min(known)
            # Whatever lies earlier than this can't match the latest, nor anything after it.
            earliest = max(known) - threshold
            for index, time in enumerate(known):
                if time < earliest:
                    times[index] = self.triggers[index].next_fire_time(earliest - _INSTANT)
                    asked += 1
        raise InvalidTriggerError(
            f"No common fire time found after {after} in {_MAX_QUESTIONS:,} steps: {self}; "
            f"choose a wider threshold, or triggers that meet more often"
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any], load: Load | None = None) -> Self:
        """Make the trigger that `to_json` described; `load` decodes the children.

        Raises:
            InvalidTriggerError: the data, or a child's, is of an unknown kind or version.
        """
        state = checked(cls, data)
        return cls(_loaded(state, load), state.get("threshold", 1.0))

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "threshold": self.threshold}

    def _spelled(self) -> str:
        return f"AndTrigger({list(self.triggers)!r}, threshold={self.threshold!r})"

    def __str__(self) -> str:
        return f"all of ({self._listed()}) within {self.threshold:g} s"


def _children(triggers: object) -> tuple[Trigger, ...]:
    children = tuple(triggers) if isinstance(triggers, Iterable) else ()
    if not children or isinstance(triggers, str | bytes):
        raise InvalidTriggerError(f"triggers must be a list of one or more, not {triggers!r}")
    for child in children:
        if isinstance(child, type) or not isinstance(child, Trigger):
            raise InvalidTriggerError(f"Not a trigger: {child!r}; pass trigger objects")
    return children


def _seconds(threshold: object) -> float:
    if (seconds := seconds_of(threshold)) is None:
        raise InvalidTriggerError(f"threshold must be seconds, 0 or more, not {threshold!r}")
    return seconds


def _loaded(state: Mapping[str, Any], load: Load | None) -> list[Trigger]:
    # The table of kinds holds these two classes, so it can't be imported before them.
    from tickwork.triggers.kinds import load_trigger

    children = state.get("triggers")
    if not isinstance(children, list) or not all(isinstance(one, dict) for one in children):
        raise InvalidTriggerError(f"Data of a combined trigger without its triggers: {state!r}")
    return [(load or load_trigger)(child) for child in children]
