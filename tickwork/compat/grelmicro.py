"""grelmicro's names: `TaskManager`, `TaskRouter`, their `interval` and `scheduled`, and locks.

```python
from tickwork.compat.grelmicro import LeaderElection, TaskManager

leader = LeaderElection("my-service")
task = TaskManager("redis://localhost")  # where locks are kept; without it, in this process
task.add_task(leader)


@task.interval(seconds=60, leader=leader)
async def cleanup() -> None: ...
```

An interval is a fixed delay, whose first run is at once; it ticks in every process, and locks and
leaders decide who executes it. A manager is one of our schedulers.
"""

import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, Self, TypeVar

from tickwork.coordination import LeaderElection, Lock, TaskLock
from tickwork.interfaces import Trigger
from tickwork.model.instants import SECOND
from tickwork.scheduler import router as core
from tickwork.scheduler.gates import check_seconds, read_gate
from tickwork.scheduler.scheduler import Scheduler
from tickwork.scheduler.task import Task
from tickwork.triggers import IntervalTrigger

__all__ = [
    "LeaderElection",
    "Lock",
    "TaskLock",
    "TaskManager",
    "TaskRouter",
    "interval",
    "scheduled",
]

F = TypeVar("F", bound=Callable[..., Any])

_SPANS = 5
"""How many intervals `scheduled` holds its lock for at most."""


class _AtOnce(IntervalTrigger):
    """An interval whose first fire time is where its task begins."""

    __slots__ = ()

    def anchored(self, at: datetime) -> Self:
        return self if self.start_at is not None else self._with(start_at=at)


class _Decorating(Protocol):
    def task(self, trigger: Trigger | str | None = None, **options: Any) -> Callable[[F], F]: ...


def interval(
    declared_on: _Decorating,
    *,
    seconds: float,
    max_lock_seconds: float | None = None,
    min_lock_seconds: float | None = None,
    leader: LeaderElection | None = None,
    sync: Lock | TaskLock | LeaderElection | None = None,
    **options: Any,
) -> Callable[[F], F]:
    """Return a decorator for a task that waits so long between its runs; `options` are ours.

    Raises:
        TaskConfigurationError: a span isn't positive, or they contradict each other.
    """
    check_seconds({"seconds": seconds})
    if isinstance(sync, TaskLock):
        _deprecated("sync=TaskLock", "max_lock_seconds")
        max_lock_seconds = sync.max_lock_us / SECOND
        min_lock_seconds = sync.min_lock_us / SECOND
        sync = None
    elif isinstance(sync, LeaderElection):
        _deprecated("sync=LeaderElection", "leader")
        leader, sync = sync, None
    gate = {
        "max_lock_seconds": max_lock_seconds,
        "min_lock_seconds": min_lock_seconds,
        "leader": leader,
        "sync": sync,
    }
    trigger = _AtOnce(seconds=seconds)
    # A router would only find out when it is included.
    read_gate(gate, trigger)
    return declared_on.task(trigger, fixed_delay=True, scope="node", **gate, **options)


def scheduled(declared_on: _Decorating, *, seconds: float, **options: Any) -> Callable[[F], F]:
    """Return a decorator for a task with a lock; deprecated, use `interval` with a lock."""
    _deprecated("scheduled()", "interval() with max_lock_seconds or leader")
    spans = {"max_lock_seconds": seconds * _SPANS, "min_lock_seconds": seconds}
    return interval(declared_on, seconds=seconds, **{**spans, **options})


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated, use {new} instead", DeprecationWarning, stacklevel=3)


class TaskManager(Scheduler):
    """A scheduler with `interval`; `async with manager` starts it."""

    interval = interval
    scheduled = scheduled

    def add_task(
        self,
        fn: Callable[..., Any] | str | Task | LeaderElection | None = None,
        trigger: Trigger | str | None = None,
        **options: Any,
    ) -> Any:
        """Add a task, or stand for an election."""
        if isinstance(fn, LeaderElection):
            return self.elect(fn)
        return super().add_task(fn, trigger, **options)


class TaskRouter(core.TaskRouter):
    """A router with `interval`."""

    interval = interval
    scheduled = scheduled
