"""Ending runs before they end by themselves: their time is over, or somebody has cancelled them.

A run whose end was asked for is ended by its executor. One that the executor can't end, or that
refuses to end for some seconds, is reported as over and lingers: it keeps its place here, and in
its task, until it returns. Deadlines are the loop's, so that they go by the scheduler's clock; they
count from when the executor really began, which is looked up when they pass.
"""

from collections import deque
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import count

from tickwork.interfaces import OnDemand, Store
from tickwork.model.instants import SECOND
from tickwork.model.policies import RunState
from tickwork.scheduler.held import Held
from tickwork.scheduler.holding import Holding
from tickwork.scheduler.sharing import Share
from tickwork.scheduler.store_clock import StoreClock

__all__ = ["Endings"]

_GRACE_US = 5 * SECOND
"""How long a run may clean up when it is ended, before it is reported as lingering."""

_ASKED_EVERY_US = SECOND // 2
_CROWD = 1_000


class Endings:
    """The ends that the runs of one loop are to come to. Only `request` is for other threads."""

    def __init__(
        self,
        store: Store,
        holding: Holding,
        executors: Mapping[str, Share],
        *,
        clock: StoreClock,
        timeout_us: int | None,
    ) -> None:
        self._store = store if isinstance(store, OnDemand) else None
        self._holding = holding
        self._executors = executors
        self._clock = clock
        self._timeout_us = timeout_us
        self._deadlines: list[tuple[int, int, Held]] = []
        self._order = count()
        self._requests: deque[tuple[str, str]] = deque()
        self._asked_at_us = 0
        self._asks_us: int | None = None

    def request(self, run_id: str, why: str) -> None:
        """Have a run ended that is under way here, if it is; from any thread."""
        self._requests.append((run_id, why))
        self._holding.wake.set()

    def watch(self, held: Held, now_us: int) -> None:
        """Have a run ended when its time is over."""
        timeout_us = self._timeout_of(held)
        if timeout_us:
            self._look_again(held, now_us + timeout_us)

    def has_timeout(self, held: Held) -> bool:
        """Whether a run may take only so long."""
        return bool(self._timeout_of(held))

    def _timeout_of(self, held: Held) -> int | None:
        own_us = held.definition.timeout_us
        return self._timeout_us if own_us is None else own_us

    def next_us(self) -> int | None:
        """Return when there is something to do."""
        return self._deadlines[0][0] if self._deadlines else None

    def asks_us(self) -> int | None:
        """Return when to ask the store again, where it was too early to."""
        return self._asks_us

    def keep(self, now_us: int) -> None:
        """End what is to be ended by now; touches no store."""
        while self._requests:
            self._cancel(*self._requests.popleft(), now_us)
        while self._deadlines and self._deadlines[0][0] <= now_us:
            self._pass(heappop(self._deadlines)[2], now_us)

    def ask(self, node_id: str, now_us: int) -> None:
        """Ask the store now and then whose end others have asked for, and end them.

        Not within half a second of when nothing was under way: most that began then is over soon.
        """
        if self._store is None:
            return
        self._asks_us = None
        if not self._holding.held:
            self._asked_at_us = now_us
        elif 0 <= now_us - self._asked_at_us < _ASKED_EVERY_US:
            # Somebody's asking may be what this tick was woken for.
            self._asks_us = self._asked_at_us + _ASKED_EVERY_US
        else:
            self._asked_at_us = now_us
            for run_id in self._store.asked(node_id):
                self._cancel(run_id, "cancelled", now_us)

    def _cancel(self, run_id: str, why: str, now_us: int) -> None:
        held = self._holding.held.get(run_id)
        if held is None or held.settled:
            return
        if held.ending is None:
            self._end(held, RunState.CANCELLED, why, now_us)
        elif held.overdue and held.lingers_as is None:
            # It was to be tried again as soon as it has ended; now it won't be.
            held.ending, held.why = RunState.CANCELLED, why
            self._holding.linger(held, now_us)

    def _pass(self, held: Held, now_us: int) -> None:
        """Do what is due at a run's deadline, or at the end of its grace."""
        gone = self._holding.held.get(held.run_id) is not held
        if gone or held.overdue or held.settled:
            return
        timeout_us = self._timeout_of(held) or 0
        started_us = held.started_us and held.started_us + self._clock.offset_us
        if not started_us:
            self._look_again(held, now_us + (timeout_us or _GRACE_US))
        elif held.ending is not None:
            if now_us >= held.grace_until_us:
                self._holding.linger(held, now_us)
        elif now_us - started_us < timeout_us:
            self._look_again(held, started_us + timeout_us)
        else:
            why = f"it ran longer than its timeout of {timeout_us / SECOND:g} s"
            self._end(held, RunState.TIMEOUT, why, now_us)

    def _end(self, held: Held, state: RunState, why: str, now_us: int) -> None:
        held.why = why
        # In this order: from here on it isn't started any more.
        held.ending = state
        if self._executors[held.run.executor].cancel(held.run_id) or not held.started_us:
            held.grace_until_us = now_us + _GRACE_US
            self._look_again(held, held.grace_until_us)
        else:
            self._holding.linger(held, now_us)

    def _look_again(self, held: Held, at_us: int) -> None:
        heappush(self._deadlines, (at_us, next(self._order), held))
        if len(self._deadlines) > _CROWD + 2 * len(self._holding.held):
            # Most of them ended long before their time was over.
            known = self._holding.held
            self._deadlines = [it for it in self._deadlines if known.get(it[2].run_id) is it[2]]
            heapify(self._deadlines)
