"""Schedulers of other systems' names whose time a test advances; several of them share a clock."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tickwork import Scheduler
from tickwork.events import RunEvent
from tickwork.model.instants import us_of
from tickwork.testing import ManualClock, SteppedScheduler

__all__ = ["advance", "stepped", "summary"]

_BEAT_US = 10_000_000


def stepped(
    kind: type[Scheduler],
    begun: Callable[[Any], object] = lambda _: None,
    store: object = None,
    **options: Any,
) -> Any:
    """Return a kind of scheduler with fake time; `begun` is called with each when it was started.

    `store` and `options` hold where none is said. Each hears its own events, as `heard`.
    """

    # `Scheduler` itself is what a stepped one is made of already.
    bases = () if issubclass(SteppedScheduler, kind) else (kind,)
    base: Any = type(kind.__name__, (*bases, SteppedScheduler), {})

    class Stepped(base):  # type: ignore[misc]  # made of two
        def __init__(self, *args: Any, **said: Any) -> None:
            if store is not None and not args and "stores" not in said:
                args = (store,)
            super().__init__(*args, **{**options, **said})
            self.heard: list[RunEvent] = []
            self.on(RunEvent, self.heard.append)

        def _started(self) -> None:
            super()._started()
            begun(self)

    return Stepped


def advance(clock: ManualClock, schedulers: Sequence[Any], **duration: float) -> None:
    """Let time pass for several schedulers that share a clock and a store.

    None of them stands still for longer than a beat, as living processes don't.
    """
    end_us = clock.now_us() + us_of(timedelta(**duration))
    while clock.now_us() < end_us:
        known = [scheduler.step() for scheduler in schedulers]
        soon_us = min(each for each in (*known, end_us) if each is not None)
        clock.set(max(clock.now_us(), min(soon_us, clock.now_us() + _BEAT_US)))
    for scheduler in schedulers:
        scheduler.step()


def summary(scheduler: Any, **filters: Any) -> list[tuple[str, str, str]]:
    """Return runs, the oldest first: task, how it ended, and the time at which it was due."""
    runs = reversed(scheduler.get_runs(**filters))
    return [
        (run.name, run.status.value, f"{(run.fire_time or run.created_at):%d %H:%M:%S}")
        for run in runs
    ]
