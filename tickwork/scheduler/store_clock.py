"""The time of a store: this process's clock, corrected by its offset from the store's server.

Due is judged by it, so that processes whose clocks differ agree on when a task is due. A server's
answer, which was given between the moments of asking and of receiving, bounds the offset from both
sides. The bounds of several measurements narrow each other down, for as long as they agree; clocks
that drift apart let old ones widen with time. While the bounds allow for no offset, there is none,
and the clock here is taken as it is.
"""

import logging
import threading

from tickwork.interfaces import Clock, Store, Timekeeping
from tickwork.model.instants import SECOND

__all__ = ["StoreClock"]

logger = logging.getLogger("tickwork.clock")

_WARNED_FROM_US = SECOND
_STALE_AFTER_US = 60 * SECOND
_DRIFT = 10_000
"""In which time a clock may gain or lose one unit of it: a hundred parts in a million."""


class StoreClock:
    """A clock for the loop and the tasks of one store; from any thread."""

    def __init__(self, clock: Clock, store: Store, name: str) -> None:
        self._clock = clock
        self._server = store if isinstance(store, Timekeeping) else None
        self._name = name
        self._measured_at_us: int | None = None
        self._bounds_us: tuple[int, int] | None = None
        self._warned_us = 0
        self.offset_us = 0

    def now_us(self) -> int:
        """Return the present instant, as the store's server sees it."""
        return self._clock.now_us() + self.offset_us

    def wait(self, until_us: int | None, woken: threading.Event) -> None:
        """Wait for an instant of this clock, as a `Clock` does."""
        self._clock.wait(None if until_us is None else until_us - self.offset_us, woken)

    def measure(self) -> None:
        """Ask the store's server for its time, where it has one.

        Raises:
            StoreUnavailableError: it doesn't answer.
        """
        if self._server is None:
            return
        asked_us = self._clock.now_us()
        server_us = self._server.now_us()
        answered_us = self._clock.now_us()
        if answered_us < asked_us:
            # The clock here was set back meanwhile: what was measured says nothing.
            return
        least_us, most_us = self._narrowed(
            server_us - answered_us, server_us - asked_us, answered_us
        )
        self._bounds_us, self._measured_at_us = (least_us, most_us), answered_us
        self.offset_us = 0 if least_us <= 0 <= most_us else (least_us + most_us) // 2
        self._warn()

    def _narrowed(self, least_us: int, most_us: int, at_us: int) -> tuple[int, int]:
        """Return bounds that hold by this measurement and by those before it."""
        if self._bounds_us is None or self._measured_at_us is None:
            return least_us, most_us
        drift_us = abs(at_us - self._measured_at_us) // _DRIFT
        least_before_us, most_before_us = self._bounds_us
        both = max(least_us, least_before_us - drift_us), min(most_us, most_before_us + drift_us)
        # Where they contradict each other, a clock was set.
        return both if both[0] <= both[1] else (least_us, most_us)

    def refresh(self) -> None:
        """Measure again, if that was long ago."""
        at_us = self._measured_at_us
        if self._server is None:
            return
        if at_us is None or not 0 <= self._clock.now_us() - at_us < _STALE_AFTER_US:
            self.measure()

    def _warn(self) -> None:
        if abs(self.offset_us - self._warned_us) >= _WARNED_FROM_US:
            self._warned_us = self.offset_us
            logger.warning(
                "the clock of this machine differs from that of the store %r by %+.3f s; "
                "tickwork goes by the store's",
                self._name,
                -self.offset_us / SECOND,
            )
