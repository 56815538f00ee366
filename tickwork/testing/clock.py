"""Time at the command of a test."""

import threading
from datetime import datetime, timedelta

from tickwork.errors import InvalidInputError
from tickwork.model.instants import from_us, to_us, us_of

__all__ = ["ManualClock"]

_BEGINNING = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


class ManualClock:
    """A clock that stands still until it is told otherwise.

    Threads that wait for it are woken when it moves; it can be set back, too, as clocks can.
    """

    def __init__(self, now: datetime = _BEGINNING) -> None:
        self._now_us = _aware(now)
        self._waiting: set[threading.Event] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<ManualClock {self.now().isoformat()}>"

    def now_us(self) -> int:
        """Return the present instant."""
        return self._now_us

    def now(self) -> datetime:
        """Return the present instant as an aware datetime in UTC."""
        return from_us(self._now_us)

    def set(self, now: datetime | int) -> None:
        """Make it another instant: an aware datetime, or microseconds since 1970."""
        with self._lock:
            self._now_us = now if isinstance(now, int) else _aware(now)
            waiting = list(self._waiting)
        for woken in waiting:
            woken.set()

    def advance(self, delta: timedelta | None = None, **duration: float) -> None:
        """Let time pass: a timedelta, or `hours=3` and the like."""
        self.set(self._now_us + us_of(delta or timedelta(**duration)))

    def wait(self, until_us: int | None, woken: threading.Event) -> None:
        """Return at an instant, when `woken` is set, or when the clock has moved."""
        with self._lock:
            if woken.is_set() or (until_us is not None and self._now_us >= until_us):
                return
            self._waiting.add(woken)
        try:
            woken.wait()
        finally:
            with self._lock:
                self._waiting.discard(woken)


def _aware(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise InvalidInputError(f"{moment!r} is naive; give the clock an aware datetime")
    return to_us(moment)
