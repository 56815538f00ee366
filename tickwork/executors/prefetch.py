"""How many jobs may wait in a queue in front of workers: learned from how long they wait.

The queue grows (fourfold, up to 1,000) when the workers emptied it within moments of the last batch
and more had been wanted: then they wait for the next batch, not for jobs. It shrinks (halving, down
to none) as soon as the oldest job in it has waited longer than 50 ms: such jobs are long enough to
be left for other nodes. Elapsed time is real, whatever clock the scheduler is given.
"""

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Prefetch"]

_LIMIT = 1_000
_PATIENCE_S = 0.05
_GROWTH = 4


class Prefetch:
    """The allowance of waiting jobs; the caller holds one lock around all of it."""

    def __init__(self, workers: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self.taken = 0
        self.limited = False
        self._now_s = now_s
        self._step = workers
        self._allowance = 0
        self._handed = 0
        self._batches: deque[tuple[int, float]] = deque()
        self._last_batch_at = 0.0
        self._grown = True

    def allowance(self) -> int:
        """Return how many jobs may wait, after a look at the oldest one."""
        now = self._now_s()
        while self._batches and self._batches[0][0] <= self.taken:
            self._batches.popleft()
        if self._batches and now - self._batches[0][1] > _PATIENCE_S:
            self._allowance //= 2
        return self._allowance

    def handed_over(self, jobs: int) -> None:
        """Note a batch."""
        self._handed += jobs
        self._last_batch_at = self._now_s()
        self._batches.append((self._handed, self._last_batch_at))
        self._grown = False

    def ran_dry(self) -> None:
        """Note that a worker found no job; grow at most once for each batch."""
        if self._grown or not self.limited:
            return
        self._grown = True
        if self._now_s() - self._last_batch_at < _PATIENCE_S:
            self._allowance = min(_LIMIT, max(self._step, _GROWTH * self._allowance))
