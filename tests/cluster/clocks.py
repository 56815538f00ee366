"""A clock that is wrong, for a process that takes part in a cluster nevertheless."""

from tickwork.model.instants import SECOND
from tickwork.scheduler.clock import SystemClock

__all__ = ["WrongClock"]


class WrongClock(SystemClock):
    """The system's clock, fast by so many seconds (slow where that is negative)."""

    def __init__(self, fast_s: float) -> None:
        self._fast_us = round(fast_s * SECOND)

    def now_us(self) -> int:
        return super().now_us() + self._fast_us
