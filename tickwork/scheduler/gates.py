"""What stands between a fire time and its execution in this process: a leader, locks.

Tasks with a gate are of scope `node`: they tick in every process, and the gate decides which one
executes. All processes tick at the same instants, since their intervals are counted from the epoch
where they have no start of their own; so "once an interval" means the same to all of them. Which
task it is, its id says: it is the function's name where none was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tickwork.coordination import LeaderElection, Lock
from tickwork.errors import TaskConfigurationError
from tickwork.interfaces import Anchored, Periodic
from tickwork.model.instants import read_seconds, us_of

if TYPE_CHECKING:
    from tickwork.interfaces import Trigger

__all__ = ["GATES", "Gate", "check_seconds", "in_step", "read_gate"]

GATES = frozenset({"leader", "sync", "max_lock_seconds", "min_lock_seconds"})
"""The options that make a gate."""

_LEADERS_INTERVALS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Who may execute a task: the leader, who has its lock, who has the resource it needs.

    Its lock is held for `max_lock_us` at most, and fire times that are executed lie at least
    `min_lock_us` apart; where either wasn't said, it follows from the interval, whatever that is
    changed to.
    """

    leader: LeaderElection | None
    sync: Lock | None
    max_lock_us: int | None
    min_lock_us: int | None
    most_us: int
    """The longest that its lock is held, if the task is rescheduled to something without one."""

    def span(self, trigger: Trigger) -> tuple[int, int] | None:
        """Return for how long its lock is held at most, and kept at least; None without a lock."""
        if self.leader is None and self.max_lock_us is None:
            return None
        interval_us = _interval_us(trigger)
        most_us = self.max_lock_us
        if most_us is None:
            most_us = _LEADERS_INTERVALS * interval_us if interval_us else self.most_us
        return most_us, interval_us if self.min_lock_us is None else self.min_lock_us


def check_seconds(arguments: Mapping[str, Any]) -> None:
    """Refuse an interval that is none, in the words that go with locks."""
    number = arguments.get("seconds")
    if isinstance(number, (int, float)) and not number > 0:
        raise TaskConfigurationError("seconds must be greater than 0")


def read_gate(given: Mapping[str, Any], trigger: Trigger) -> Gate | None:
    """Return the gate that options describe; None where they don't.

    Raises:
        TaskConfigurationError: they contradict each other, or the interval of the trigger.
    """
    if not GATES & given.keys():
        return None
    leader, sync = given.get("leader"), given.get("sync")
    if leader is not None and not isinstance(leader, LeaderElection):
        raise TaskConfigurationError(
            f"leader={leader!r} is no LeaderElection; make one and pass it"
        )
    if sync is not None and not isinstance(sync, Lock):
        raise TaskConfigurationError(
            f"sync={sync!r} is no Lock; a TaskLock is said by max_lock_seconds, a LeaderElection "
            "by leader"
        )
    most_us, least_us = _span(given, "max_lock_seconds"), _span(given, "min_lock_seconds")
    if least_us is not None and most_us is None and leader is None:
        raise TaskConfigurationError(
            "min_lock_seconds requires max_lock_seconds or leader to be set"
        )
    interval_us = _interval_us(trigger)
    if leader is not None and most_us is None and not interval_us:
        raise TaskConfigurationError(
            "leader= with a trigger that isn't an interval needs max_lock_seconds: how long others "
            "wait for a leader that died in the middle of a run"
        )
    gate = Gate(leader, sync, most_us, least_us, most_us or _LEADERS_INTERVALS * interval_us)
    span = gate.span(trigger)
    if span is None:
        return None if sync is None else gate
    if span[0] < interval_us:
        raise TaskConfigurationError("max_lock_seconds must be greater than or equal to seconds")
    if span[1] > span[0]:
        raise TaskConfigurationError(
            "min_lock_seconds must be less than or equal to max_lock_seconds"
        )
    return gate


def _span(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    return None if value is None else read_seconds(name, value)


def _interval_us(trigger: Trigger) -> int:
    return us_of(trigger.interval) if isinstance(trigger, Periodic) else 0


def in_step(trigger: Trigger) -> Trigger:
    """Return a trigger that ticks at the same instants in every process.

    Raises:
        TaskConfigurationError: it counts days from the one on which it is added.
    """
    if trigger.kind == "date" or not isinstance(trigger, Anchored):
        return trigger
    if _counts_days(trigger):
        raise TaskConfigurationError(
            "a calendar interval with a leader or a lock needs start_date: without, each process "
            "would count from the day on which it was started"
        )
    return trigger.anchored(_EPOCH)


def _counts_days(trigger: Trigger) -> bool:
    if trigger.kind == "calendar" and isinstance(trigger, Anchored):
        return trigger.anchored(_EPOCH) is not trigger
    return any(map(_counts_days, getattr(trigger, "triggers", ())))
