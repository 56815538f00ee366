"""The one place where tickwork reads the wall clock."""

import threading
import time

from tickwork.model.instants import SECOND

__all__ = ["SystemClock"]

_LONGEST_S = 1.0


class SystemClock:
    """The system's clock, with leaps and all."""

    def now_us(self) -> int:
        """Return the present instant."""
        return time.time_ns() // 1_000

    def wait(self, until_us: int | None, woken: threading.Event) -> None:
        """Wait for an instant or for `woken`; at most a second, so that a leap is noticed."""
        if until_us is None:
            woken.wait(_LONGEST_S)
            return
        left_s = (until_us - self.now_us()) / SECOND
        if left_s > 0:
            woken.wait(min(left_s, _LONGEST_S))
