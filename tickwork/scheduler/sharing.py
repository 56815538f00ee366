"""The places of executors, shared by the loops of several stores.

Places go to whoever asks, but a loop that found none is remembered and woken when one is free.
While others wait, a loop keeps only its part of what it could have, and lets a single place pass
once if it had the last one too. So every store with work gets its part of the places that become
free, however much the others have to do. A loop that doesn't come for its part, since it has
nothing to do or its store hangs, costs the others one place for a moment.
"""

import threading
from collections.abc import Mapping, Sequence

from tickwork.interfaces import Cancelling, Executor
from tickwork.model.jobs import Job

__all__ = ["Share", "Shares"]


class Shares:
    """The executors of a scheduler, as its loops share them; at most `most` places in all."""

    def __init__(self, executors: Mapping[str, Executor], most: int | None = None) -> None:
        self.bounded = most is not None
        self._bound = _Bound(_ENDLESS if most is None else most)
        self._places = {
            name: _Places(executor, self._bound) for name, executor in executors.items()
        }

    def of(self, wake: threading.Event) -> dict[str, "Share"]:
        """Return the executors for one loop, which `wake` wakes."""
        return {name: Share(places, wake) for name, places in self._places.items()}

    def freed(self, count: int) -> None:
        """Wake the loops that wait for a place: so many runs have ended; from any thread."""
        if self.bounded:
            self._bound.give(count)
        for places in self._places.values():
            if places.waiting:
                places.wake_waiting()


_ENDLESS = 2**62


class _Bound:
    """How many more places may be taken."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        with self._lock:
            taken = min(wanted, self._left)
            self._left -= taken
            return taken

    def give(self, count: int) -> None:
        with self._lock:
            self._left += count


class _Places:
    """The places of one executor, and the loops that found none, the longest waiting first."""

    def __init__(self, executor: Executor, bound: _Bound) -> None:
        self.executor = executor
        self.bound = bound
        self.waiting: dict[Share, None] = {}
        self._last: Share | None = None
        self._passed: Share | None = None
        self._lock = threading.Lock()

    def reserve(self, share: "Share", wanted: int) -> int:
        with self._lock:
            allowed = self.bound.take(wanted)
            places = self.executor.reserve(allowed)
            self.bound.give(allowed - places)
            self.waiting.pop(share, None)
            kept = self._part(share, places)
            if kept:
                self._last, self._passed = share, None
            others = list(self.waiting)
            if not kept:
                self.waiting[share] = None
        if kept < places:
            self.executor.release(places - kept)
            self.bound.give(places - kept)
            _wake(others)
        return kept

    def _part(self, share: "Share", places: int) -> int:
        if not places or not self.waiting:
            return places
        part = places // (1 + len(self.waiting))
        if part or self._last is not share:
            return part or 1
        if self._passed is share:
            # Back again: the others had their chance.
            self.waiting.clear()
            return places
        self._passed = share
        return 0

    def wake_waiting(self) -> None:
        """Wake the loops that wait for a place; from any thread."""
        with self._lock:
            waiting = list(self.waiting)
        _wake(waiting)


def _wake(shares: Sequence["Share"]) -> None:
    for share in shares:
        share.wake.set()


class Share:
    """An executor as one loop sees it."""

    __slots__ = ("_executor", "_places", "wake")

    def __init__(self, places: _Places, wake: threading.Event) -> None:
        self._places = places
        self._executor = places.executor
        self.wake = wake

    def reserve(self, wanted: int) -> int:
        """Set aside up to `wanted` places, or this loop's part of them while others wait."""
        return self._places.reserve(self, wanted)

    def release(self, places: int) -> None:
        """Give back places that will not be used."""
        self._executor.release(places)
        self._places.bound.give(places)
        if self._places.waiting:
            self._places.wake_waiting()

    def waits(self) -> bool:
        """Whether this loop found no place when it asked last."""
        return self in self._places.waiting

    def idle(self) -> int:
        """Return how many jobs would start at once."""
        return self._executor.idle()

    def cancel(self, run_id: str) -> bool:
        """Ask for the end of a run; False where it can't be ended."""
        return isinstance(self._executor, Cancelling) and self._executor.cancel(run_id)

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs into places reserved before."""
        try:
            self._executor.start(jobs)
        except BaseException:
            self._places.bound.give(len(jobs))
            raise
