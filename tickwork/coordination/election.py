"""Leader election: of all candidates of a name, one at most believes that it leads.

The leader has a lock, and renews it every `retry_interval`; the others ask for it as often. One
that couldn't renew it for `renew_deadline` doesn't believe in it any more, which is before the
lock's `lease` is over and another may be elected: so there is no moment with two leaders, whatever
stands still or is cut off. A leader that stops gives the lock back, and is followed at once; its
listeners hear of it before anybody can follow.
Source: the leader election of Kubernetes' client, whose names these are.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tickwork.coordination.hold import Hold, acquired
from tickwork.coordination.place import Home, Place, Placed, lock_name
from tickwork.coordination.waiting import finished, off_loop
from tickwork.errors import InvalidInputError, StoreError, TickworkError
from tickwork.model.instants import SECOND, read_seconds
from tickwork.model.locks import LockRequest

__all__ = ["AsyncElection", "LeaderElection"]

logger = logging.getLogger("tickwork.coordination")

_LOOK_S = 0.05

_ENDED_WITHIN_S = 10.0
"""How long a stop waits for a store that doesn't answer."""


class _Candidacy:
    """The time from a start to a stop."""

    def __init__(self) -> None:
        self.undecided = False
        self._over = False
        self._woken = threading.Event()

    def is_over(self) -> bool:
        return self._over

    def end(self) -> None:
        self._over = True
        self.undecided = False
        self._woken.set()

    def rest(self, place: Place, until_us: int) -> None:
        """Wait for a time of the place, or for the end."""
        while not self._over and place.now_us() < until_us:
            # The clock of a test sets what it wakes.
            self._woken.clear()
            if not self._over:
                place.wait(until_us, self._woken)


class LeaderElection(Placed):
    """A candidate for the lead, in this process; all durations in seconds.

    It stands for election between `start` and `stop`, or within `with` or `async with`; a scheduler
    that has a task with it as `leader` does so while it is started. `on_change(leads)` is called,
    in the election's thread, when this candidate was elected and when it doesn't lead any more. It
    has to return soon: the lead isn't renewed meanwhile.

    Raises:
        InvalidInputError: not `retry_interval` < `renew_deadline` < `lease`.
    """

    def __init__(
        self,
        name: str,
        lease: float = 15.0,
        renew_deadline: float = 10.0,
        retry_interval: float = 2.0,
        *,
        scheduler: Home | None = None,
        store: str = "default",
        on_change: Callable[[bool], object] | None = None,
    ) -> None:
        super().__init__(name, scheduler, store)
        self._lease_us = read_seconds("lease", lease)
        self._deadline_us = read_seconds("renew_deadline", renew_deadline)
        self._retry_us = read_seconds("retry_interval", retry_interval)
        if not self._retry_us < self._deadline_us < self._lease_us:
            raise InvalidInputError(
                f"retry_interval={retry_interval!r} must be less than renew_deadline="
                f"{renew_deadline!r}, and that less than lease={lease!r}"
            )
        self._listeners = [] if on_change is None else [on_change]
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._hold: Hold | None = None
        self._request: LockRequest | None = None
        self._at: Place | None = None
        self._doubtful = False
        self._starts = 0
        self._thread: threading.Thread | None = None
        self._believed = threading.Event()
        self._candidacy = _Candidacy()
        self._starting = threading.Lock()
        # A listener may stop the election in the middle of a step.
        self._stepping = threading.RLock()
        self._news: deque[bool] = deque()
        self._telling = False

    def forsake(self) -> None:
        """Begin anew in a forked child: what its parent stands for, and has, stayed there."""
        if self._pid != os.getpid():
            self._begin()

    # --- looking ------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this candidate leads at this moment; touches no store."""
        hold = self._hold
        if hold is None or self._candidacy.is_over():
            return False
        return hold.held and not self._is_overdue(hold)

    @property
    def is_undecided(self) -> bool:
        """Whether it stands for election and hasn't heard anything yet."""
        return self._candidacy.undecided

    @property
    def fence(self) -> int | None:
        """A number higher than that of any leader before; None for one that doesn't lead."""
        hold = self._hold
        return hold.fence if hold is not None and self.is_leader else None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until this candidate leads; False where it doesn't within `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            if self._believed.wait(left_s) and self.is_leader:
                return True
            if left_s == 0:
                return False
            # It has led, could not renew it in time, and will soon see that.
            threading.Event().wait(_LOOK_S if left_s is None else min(_LOOK_S, left_s))

    @property
    def aio(self) -> AsyncElection:
        """The same methods, awaitable, run off the event loop."""
        return AsyncElection(self)

    def listen(self, on_change: Callable[[bool], object]) -> None:
        """Call a function, too, when this candidate was elected, and when it leads no more."""
        self._listeners.append(on_change)

    def now_us(self) -> int:
        """Return the time in which `step` says when it wants to be called again."""
        return (self._at or self.place).now_us()

    def _is_overdue(self, hold: Hold) -> bool:
        return hold.age_us >= self._deadline_us

    # --- standing for election ----------------------------------------------------------------

    def start(self, *, threaded: bool = True) -> None:
        """Stand for election, in a thread of its own; each `start` needs its `stop`.

        Not `threaded`, somebody has to call `step`.

        Raises:
            SchedulerStateError: it has no scheduler, or one that isn't connected.
        """
        self.forsake()
        place = self.place
        with self._starting:
            self._starts += 1
            if self._starts == 1:
                self._candidacy = _Candidacy()
                self._candidacy.undecided = True
                self._stand_at(place)
                if threaded:
                    self._thread = threading.Thread(
                        target=self._stand,
                        args=(place, self._candidacy),
                        name=f"tickwork-leader-{self.name}",
                        daemon=True,
                    )
                    self._thread.start()

    def _stand_at(self, place: Place) -> None:
        """Be a new candidate: what was asked for by another name may still take effect."""
        self._at = place
        self._doubtful = False
        self._request = LockRequest(
            lock_name("leader", self.name), place.new_owner(), self._lease_us, place.about()
        )

    def stop(self) -> None:
        """Stand no more; a leader gives the lead back at once.

        Where others have started it too, it goes on for them, as a new candidate.
        """
        self.forsake()
        with self._starting:
            if not self._starts:
                return
            self._starts -= 1
            last, candidacy, thread = not self._starts, self._candidacy, self._thread
            if last:
                candidacy.end()
                self._thread = None
        if last and thread is not None and thread is not threading.current_thread():
            thread.join(min(self._lease_us / SECOND, _ENDED_WITHIN_S))
            if thread.is_alive():
                logger.warning("the store of %r doesn't answer; it is left to its lease", self)
                return
        with self._stepping:
            # Unless somebody has started it again in this moment.
            if self._candidacy is candidacy:
                self._resign("it stopped")

    def _stand(self, place: Place, candidacy: _Candidacy) -> None:
        while not candidacy.is_over():
            try:
                next_us = self.step()
            except Exception:
                # Whatever it is, the next step comes; meanwhile the lead gets older.
                logger.exception("the election of %r failed; going on", self.name)
                next_us = place.now_us() + self._retry_us
            candidacy.rest(place, next_us)

    def step(self) -> int:
        """Ask for the lead, or renew it; return when to do so again, in the time of the place."""
        with self._stepping:
            candidacy, place, request = self._candidacy, self._at, self._request
            next_us = self.now_us() + self._retry_us
            if place is not None and request is not None and not candidacy.is_over():
                if self._hold is None:
                    self._ask(place, request)
                else:
                    self._renew(self._hold, place)
                if candidacy.is_over() and self._candidacy is candidacy:
                    self._resign("it stopped")
            candidacy.undecided = False
            return next_us

    def _ask(self, place: Place, request: LockRequest) -> None:
        try:
            got = acquired(place, request)
        except StoreError:
            self._doubtful = True
            self._look_for_place(place)
            return
        # One that was given too late is asked for again, which renews it.
        self._doubtful = isinstance(got, Hold)
        if isinstance(got, Hold) and not self._is_overdue(got):
            self._hold = got
            self._believed.set()
            logger.info("elected leader of %r, fence %d", self.name, got.fence)
            self._tell(leads=True)

    def _look_for_place(self, place: Place) -> None:
        """Go on at another scheduler, where the one whose store it was has ended."""
        with suppress(TickworkError):
            found = self.place
            if found is not place:
                self._stand_at(found)

    def _renew(self, hold: Hold, place: Place) -> None:
        renewed = False
        with suppress(StoreError):
            renewed = not self._is_overdue(hold) and hold.renew()
        if not renewed and (hold.lost or self._is_overdue(hold)):
            logger.warning("no longer leader of %r: it was not renewed in time", self.name)
            self._resign("it could not be renewed in time")
            self._look_for_place(place)

    def _resign(self, why: str) -> None:
        """Give back what it has, or may have, and go on as another candidate."""
        hold, self._hold = self._hold, None
        place, request, doubtful = self._at, self._request, self._doubtful
        if place is not None:
            self._stand_at(place)
        if hold is not None:
            self._believed.clear()
            logger.info("leads %r no more: %s", self.name, why)
            # Before anybody can follow.
            self._tell(leads=False)
            hold.release()
        elif doubtful and place is not None and request is not None:
            with suppress(StoreError):
                place.store.renew_lock(request.name, request.owner, 0)

    def _tell(self, *, leads: bool) -> None:
        self._news.append(leads)
        if self._telling:
            # By a listener that stopped it; the others hear of that after what they hear now.
            return
        self._telling = True
        try:
            while self._news:
                self._tell_all(self._news.popleft())
        finally:
            self._telling = False

    def _tell_all(self, leads: bool) -> None:  # noqa: FBT001  as listeners take it
        for listener in list(self._listeners):
            try:
                listener(leads)
            except Exception:
                # A listener is somebody else's code, and the election goes on.
                logger.exception("a listener of %r failed", self)

    # --- with, and async with -----------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aio.stop()


class AsyncElection:
    """A candidate for coroutines; see the methods of the election itself."""

    def __init__(self, election: LeaderElection) -> None:
        self._of = election

    async def start(self) -> None:
        """Stand for election; see `LeaderElection.start`."""
        self._of.start()

    async def stop(self) -> None:
        """Stand no more; see `LeaderElection.stop`."""
        await finished(off_loop(self._of.stop))

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until this candidate leads; see `LeaderElection.wait`."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._of.is_leader:
            if until is not None and time.monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK_S)  # noqa: TID251  it is a thread that elects
        return True
