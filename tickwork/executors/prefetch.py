"""How many jobs may wait in a queue in front of workers: learned from how many they begin.

At first many may: a burst of short jobs is leased in as few steps of the store as possible then.
That they are short is seen soon, for nothing waits where the workers keep up. While jobs wait, the
queue is looked at every 50 ms or a little later. Where one waited from one look to the next, the
workers were busy all the time: as many jobs as they began in 50 ms may wait from now on, none if
these are long. What the workers won't begin within four such spans is too much already, and goes
back to the store, where other nodes may be idle. Twice as many as at first may wait as soon as the
workers are seen to be so quick that these aren't too many: the next batch is leased while they do
the last one then, and not only planned. Whoever wants more places than there are waits for the few
milliseconds that it takes to see that.

The queue grows again (fourfold, up to 2,000) when a worker that has done a job of the last batch
finds no more within moments, and more had been wanted: then the workers wait for the next batch,
not for jobs. Elapsed time is real, whatever clock the scheduler is given.
"""

import time
from collections.abc import Callable

__all__ = ["MOMENT_S", "Prefetch"]

MOMENT_S = 0.05
_GLANCE_S = 0.005
_FIRST = 1_000
_MOST = 2 * _FIRST
_GROWTH = 4
_QUICK = _MOST / (_GROWTH * MOMENT_S)
"""How many jobs are to be begun a second where so many may wait."""


class Prefetch:
    """The allowance of waiting jobs; the caller holds one lock around all of it.

    `batch` is the number of the last batch.
    """

    def __init__(self, workers: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self.allowance = _FIRST
        self.limited = False
        self.batch = 0
        self._now_s = now_s
        self._step = workers
        self._handed = 0
        self._last_batch_at = 0.0
        self._grown = True
        self._filled_at = 0.0
        self._before = 0
        self._looked_at = 0.0
        self._gone = 0
        self._due = 0

    def handed_over(self, jobs: int, waiting: int = 0) -> None:
        """Note a batch, and how many jobs waited before it."""
        now = self._now_s()
        if not waiting:
            self._filled_at, self._before = now, self._handed
        self._handed += jobs
        self.batch += 1
        self._last_batch_at = now
        self._grown = False

    def glance(self, waiting: int) -> float:
        """Let more jobs wait if they are short; return in how many seconds that will be known."""
        if self.allowance != _FIRST or not waiting:
            return 0.0
        elapsed = self._now_s() - self._filled_at
        if elapsed < _GLANCE_S:
            return _GLANCE_S - elapsed
        begun = self._handed - waiting - self._before
        if begun >= _QUICK * elapsed:
            self.allowance = _MOST
        return 0.0

    def look(self, waiting: int) -> int:
        """Look at the queue, if it is time to; return how many of those that wait are too many."""
        now = self._now_s()
        elapsed = now - self._looked_at
        if elapsed < MOMENT_S:
            return 0
        gone = self._handed - waiting
        surplus = 0
        if gone < self._due:
            pace = (gone - self._gone) * MOMENT_S / elapsed
            self.allowance = min(self.allowance, int(pace))
            surplus = max(0, waiting - int(_GROWTH * pace))
        self._looked_at, self._gone, self._due = now, gone, self._handed
        return surplus

    def given_back(self, jobs: int) -> None:
        """Note that so many of the youngest jobs don't wait any more, and were not begun."""
        self._handed -= jobs
        self._due = min(self._due, self._handed)

    def ran_dry(self, batch: int) -> None:
        """Note that a worker found no job; grow at most once for each batch.

        `batch` is the last one that there was when it began the job before.
        """
        if self._grown or not self.limited or batch != self.batch:
            return
        self._grown = True
        if self._now_s() - self._last_batch_at < MOMENT_S:
            self.allowance = min(_MOST, max(self._step, _GROWTH * self.allowance))
