"""Fire times as the planner sees them: integers, whatever kind of trigger gives them.

Built-in triggers answer in microseconds themselves. A trigger that only knows the one question of
the `Trigger` protocol is asked through an adapter that refuses answers which would stop the
planner from making progress, and is enumerated, up to a bound, where others compute.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol, TypeGuard, cast

from tickwork.errors import InvalidTriggerError
from tickwork.interfaces import Anchored, InstantTrigger, Trigger
from tickwork.model.instants import SECOND, from_us, to_us

__all__ = [
    "ENUMERATED",
    "Enumeration",
    "Timing",
    "due_of",
    "fire_times",
    "is_arithmetic",
    "timing_of",
]

ENUMERATED = 10_000
"""How many fire times are counted one by one at most, where there is no arithmetic."""

_WIDTH = 64
_EARLIEST_US = -62_135_596_800 * SECOND


class Timing(Protocol):
    """What is asked of every trigger: the first fire time strictly after an instant."""

    def next_us(self, after_us: int, /) -> int | None:
        """Return the first fire time strictly after `after_us`, or None for never."""


class _Asked:
    """Asks a trigger that speaks in datetimes."""

    __slots__ = ("_trigger",)

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger

    def next_us(self, after_us: int, /) -> int | None:
        fire_time = self._trigger.next_fire_time(from_us(after_us))
        if fire_time is None:
            return None
        if fire_time.tzinfo is None:
            raise InvalidTriggerError(
                f"trigger {self._trigger} returned {fire_time!r}; fire times must be aware"
            )
        fire_us = to_us(fire_time)
        if fire_us <= after_us:
            raise InvalidTriggerError(
                f"trigger {self._trigger} returned {fire_time.isoformat()}, which isn't after "
                f"{from_us(after_us).isoformat()}; fire times must increase strictly"
            )
        return fire_us


class Enumeration:
    """The fire times from `first_us` to `until_us`, as arithmetic over a list of them.

    At most `ENUMERATED` are listed; `complete` says whether these were all.
    """

    __slots__ = ("_inner", "_listed", "complete")

    def __init__(self, inner: Timing, first_us: int, until_us: int) -> None:
        self._inner = inner
        self._listed = [first_us]
        self.complete = True
        for fire_us in fire_times(inner, first_us):
            if fire_us > until_us:
                break
            if len(self._listed) == ENUMERATED:
                self.complete = False
                break
            self._listed.append(fire_us)

    @property
    def end_us(self) -> int:
        """The last fire time that is listed."""
        return self._listed[-1]

    def next_us(self, after_us: int, /) -> int | None:
        """Return the first fire time strictly after an instant, also beyond the list."""
        at = bisect_right(self._listed, after_us)
        return self._listed[at] if at < len(self._listed) else self._inner.next_us(after_us)

    def last_us(self, at_us: int) -> int | None:
        """Return the last listed fire time at or before an instant."""
        at = bisect_right(self._listed, at_us)
        return self._listed[at - 1] if at else None

    def count_us(self, after_us: int, until_us: int) -> int:
        """Return how many listed fire times lie in (`after_us`, `until_us`]."""
        return bisect_right(self._listed, until_us) - bisect_left(self._listed, after_us + 1)


_latest: list[tuple[Trigger | None, int, Timing | None]] = [(None, 0, None)]


def timing_of(trigger: Trigger, anchor_us: int) -> Timing:
    """Return a trigger that counts from `anchor_us`, unless it has an anchor of its own."""
    # Tasks that are planned one after the other often have one trigger, and one anchor.
    latest, latest_us, timing = _latest[0]
    if timing is None or latest is not trigger or latest_us != anchor_us:
        timing = _made_timing(trigger, anchor_us)
        _latest[0] = trigger, anchor_us, timing
    return timing


def _made_timing(trigger: Trigger, anchor_us: int) -> Timing:
    if _has_power(type(trigger), Anchored):
        trigger = cast("Anchored", trigger).anchored(from_us(anchor_us))
    if is_arithmetic(trigger):
        return trigger
    return _Asked(trigger)


def is_arithmetic(trigger: object) -> TypeGuard[InstantTrigger]:
    """Whether a trigger computes in microseconds by itself."""
    kind: type = type(trigger)
    return _has_power(kind, InstantTrigger)


@lru_cache(maxsize=256)
def _has_power(kind: type, power: type) -> bool:
    # Looking a protocol's methods up takes longer than planning a task; a class keeps its own.
    return issubclass(kind, power)


def only_fire_time(timing: Timing, now_us: int) -> int | None:
    """Return the fire time of a date that lies at or before now.

    Such a task fires late rather than never; what any other schedule asked for before its task was
    there is no concern of it.
    """
    if not is_arithmetic(timing):
        return None
    only_us = timing.next_us(_EARLIEST_US)
    return only_us if only_us == timing.last_us(now_us) else None


def fire_times(timing: Timing, after_us: int) -> Iterator[int]:
    """Yield the fire times strictly after an instant; endless where the schedule is."""
    fire_us = timing.next_us(after_us)
    while fire_us is not None:
        yield fire_us
        fire_us = timing.next_us(fire_us)


def due_of(task_id: str, timing: Timing, fire_us: int, jitter_us: int) -> int:
    """Return when a fire time is due: itself plus the task's jitter.

    The jitter is the same for the same task and fire time, at least 0, at most `jitter_us`, and
    less than the gap to the next fire time, so that fire times never overtake each other.
    """
    if not jitter_us:
        return fire_us
    following_us = timing.next_us(fire_us)
    span = jitter_us + 1
    if following_us is not None:
        span = min(span, following_us - fire_us)
    digest = blake2b(f"{task_id}:{fire_us}".encode(), digest_size=_WIDTH // 8).digest()
    return fire_us + (int.from_bytes(digest, "big") * span >> _WIDTH)
