"""Letting runs through their gates: first the leader, then the task's lock, then the resource.

Each is asked for only if the one before was given. What is refused is skipped, with the reason, and
the next fire time asks again; only the resource is waited for. A task's lock counts from the moment
in which its run begins: it is renewed while the run waits, for the resource or for its executor.
While a run goes on, the resource is renewed, and the run is told if anything is lost that it was
let through for. All that may take time, so a thread of its own does it, and the loop hears of the
result.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from tickwork.coordination.hold import Hold, attempt
from tickwork.coordination.place import Place, lock_name
from tickwork.errors import StoreError, TickworkError
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRequest
from tickwork.model.policies import Delivery, Source

if TYPE_CHECKING:
    from tickwork.coordination import Home, LeaderElection
    from tickwork.scheduler.elections import Elections
    from tickwork.scheduler.gates import Gate
    from tickwork.scheduler.held import Held

__all__ = ["Gatekeeper", "Passage"]

logger = logging.getLogger("tickwork.gates")

_LOOK_US = SECOND // 2
"""How often what was let through is looked after, at least."""

_ENDED_WITHIN_S = 10.0
"""How long a stop waits for a store that doesn't answer."""

_REST_US = 60 * SECOND
"""How long to rest where there is nothing to do."""

_ELECTED_US = SECOND // 50
"""How soon to look again whether an election has begun."""

_TIME = "local"
"""The store whose place tells the time; every scheduler has it."""

_STOPPED = "its scheduler stopped while it waited for its locks"


class Passage:
    """A run on its way through its gate, and what it holds. `loss` is for any thread."""

    __slots__ = (
        "gate", "held", "inside", "label_us", "next_us", "resource", "span", "task_lock", "waited",
    )  # fmt: skip

    def __init__(self, held: Held, gate: Gate) -> None:
        self.held = held
        self.gate = gate
        self.span = gate.span(held.definition.trigger)
        self.label_us = _label_us(held)
        self.task_lock: Hold | None = None
        self.resource: Hold | None = None
        self.inside = False
        self.waited = False
        self.next_us = 0

    def holds(self) -> Iterator[Hold]:
        """Yield what it holds, in the order in which it is given back."""
        yield from (hold for hold in (self.resource, self.task_lock) if hold is not None)

    def loss(self) -> str | None:
        """Return what was lost of all that the run was let through for; None where nothing was."""
        lost = [hold.told() for hold in self.holds() if hold.lost]
        if self.gate.leader is not None and not self.gate.leader.is_leader:
            lost.append(_not_leader(self.gate.leader))
        return "; ".join(lost) or None

    def is_over(self) -> bool:
        """Whether its run has ended, or isn't this process's any more."""
        held = self.held
        return held.settled or held.holding.held.get(held.run_id) is not held

    def request(self) -> LockRequest | None:
        """Return the request for the task's own lock; None where it has none."""
        if self.span is None:
            return None
        most_us, least_us = self.span
        name, owner = lock_name("task", self.held.task_id), Place.new_owner()
        return LockRequest(name, owner, most_us, Place.about(), self.label_us, least_us)

    def kept_us(self) -> int | None:
        """Return what the task's lock is kept for from now on; None for what it is already."""
        held = self.held
        if not held.started_us or self.is_cut_off():
            # The fire time is still to be dealt with; those before it aren't.
            return self.label_us
        if held.definition.fixed_delay and held.run.source is not Source.MANUAL and self.span:
            # The next fire time is counted from the end of this run, and so is this.
            return (held.ended_us or held.holding.now_us()) + self.span[1]
        return None

    def is_cut_off(self) -> bool:
        """Whether its run was ended in the middle, by a stop, and is to be executed again."""
        held = self.held
        ended = held.settled or held.lingers_as is not None or held.ending is not None
        return not ended and held.definition.delivery is Delivery.AT_LEAST_ONCE


class Gatekeeper:
    """Lets the runs of one loop through.

    It has a thread of its own; where nothing is `threaded`, the loop calls `tick`.
    """

    def __init__(
        self, home: Home, elections: Elections, wake: threading.Event, *, threaded: bool
    ) -> None:
        self._home = home
        self._elections = elections
        self._wake = wake
        self._threaded = threaded
        self._entering: deque[Passage] = deque()
        self._decided: deque[tuple[Held, str | None]] = deque()
        self._passages: dict[Passage, None] = {}
        self._looking = threading.Event()
        self._stopping = threading.Event()
        self._draining = False
        self._thread: threading.Thread | None = None

    # --- for the loop -------------------------------------------------------------------------

    def enter(self, held: Held) -> None:
        """Have a run asked for its way; the answer comes by `decided`."""
        held.at_gate = True
        held.passage = Passage(held, held.definition.gate)
        self._entering.append(held.passage)
        if self._threaded and self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="tickwork-gates", daemon=True)
            self._thread.start()
        self._looking.set()

    def decided(self) -> Iterator[tuple[Held, str | None]]:
        """Yield runs that may start, and those that are refused with the reason."""
        while self._decided:
            yield self._decided.popleft()

    def look(self) -> None:
        """Look at what was let through: something has ended."""
        self._looking.set()

    def look_for_ends(self) -> None:
        """Look at what waits, if any of it is to be ended."""
        if any(each.held.at_gate and each.held.ending is not None for each in list(self._passages)):
            self._looking.set()

    def drain(self) -> None:
        """Refuse what still waits, but for what is to run at this very stop."""
        if not self._draining:
            self._draining = True
            self._looking.set()

    def stop(self) -> None:
        """Give everything back, but what belongs to functions that can't be ended and go on."""
        self._stopping.set()
        self._looking.set()
        thread, self._thread = self._thread, None
        if thread is None:
            self._leave()
            return
        thread.join(_ENDED_WITHIN_S)
        if thread.is_alive():
            logger.warning("a store of locks doesn't answer; they are left to their leases")

    # --- in the thread ------------------------------------------------------------------------

    def _keep(self) -> None:
        place = self._home.locks_at(_TIME)
        while not self._stopping.is_set():
            self._looking.clear()
            next_us = self.step()
            if not self._stopping.is_set():
                next_us = place.now_us() + _REST_US if next_us is None else next_us
                place.wait(next_us, self._looking)
        self._leave()

    def tick(self) -> int | None:
        """Do what threads would do; return when to look again, None while there is nothing."""
        known = [each for each in (self._elections.step(), self.step()) if each is not None]
        return min(known, default=None)

    def step(self) -> int | None:
        """Do what there is to do now; return when to look again, None while there is nothing."""
        # Those that are here already come first: one of them may be over, and in the others' way.
        while self._entering:
            self._passages[self._entering.popleft()] = None
        if not self._passages:
            return None
        place = self._home.locks_at(_TIME)
        for passage in list(self._passages):
            if not self._stopping.is_set():
                self._guarded_step(passage, place.now_us())
        return min((each.next_us for each in self._passages), default=None)

    def _guarded_step(self, passage: Passage, now_us: int) -> None:
        try:
            self._step(passage, now_us)
        except Exception as error:
            # A store that doesn't answer, a lock that belongs nowhere, or a driver's own trouble:
            # it concerns this run, and none of the others.
            if not isinstance(error, TickworkError):
                logger.exception("the gate of %s failed", passage.held.task_id)
            passage.next_us = now_us + _LOOK_US
            if not passage.inside:
                self._refuse(passage, f"its locks can't be asked for: {error}")

    def _step(self, passage: Passage, now_us: int) -> None:
        held = passage.held
        if passage.is_over():
            self._close(passage)
        elif passage.inside:
            self._look_after(passage, now_us)
        elif held.ending is not None:
            self._refuse(passage, held.why)
        elif self._draining and held.run.source is not Source.SHUTDOWN:
            self._refuse(passage, _STOPPED)
        elif now_us < passage.next_us:
            return
        elif passage.gate.leader is not None and passage.gate.leader.is_undecided:
            # Only just started: it may be the leader in a moment.
            passage.next_us = now_us + _ELECTED_US
        else:
            self._advance(passage, now_us)

    def _advance(self, passage: Passage, now_us: int) -> None:
        """Take a run as far as it gets."""
        refusal = self._refusal(passage)
        if refusal is not None:
            self._refuse(passage, refusal)
        elif self._has_resource(passage, now_us):
            self._let_in(passage, now_us)

    def _refusal(self, passage: Passage) -> str | None:
        """Return why a run doesn't get through; None where it may."""
        leader = passage.gate.leader
        if leader is not None and not leader.is_leader:
            return _not_leader(leader)
        request = passage.request()
        if passage.task_lock is None and request is not None:
            got = attempt(self._home.locks_at("default"), request)
            if not isinstance(got, Hold):
                return got
            passage.task_lock = got
        return None

    def _has_resource(self, passage: Passage, now_us: int) -> bool:
        """Ask for the resource, where a run needs one; whether it may go on."""
        sync = passage.gate.sync
        if sync is None:
            return True
        place = sync.place
        got = attempt(place, sync.request(place))
        if isinstance(got, Hold):
            passage.resource = got
            return True
        passage.waited = True
        passage.next_us = now_us + sync.retry_us
        self._keep_task_lock(passage, now_us)
        return False

    def _keep_task_lock(self, passage: Passage, now_us: int) -> None:
        """Renew the lock of a task whose run waits, in time."""
        lock = passage.task_lock
        if lock is not None:
            if lock.age_us * 3 >= lock.lease_us and not lock.renew() and not passage.inside:
                self._refuse(passage, lock.told())
            passage.next_us = min(passage.next_us, now_us + max(1, lock.lease_us // 6))

    def _let_in(self, passage: Passage, now_us: int) -> None:
        lock = passage.task_lock
        # The time that it waited for the resource is none of its own.
        if lock is not None and passage.waited and not lock.renew():
            self._refuse(passage, lock.told())
            return
        passage.inside = True
        passage.next_us = now_us
        self._decide(passage, None)

    def _look_after(self, passage: Passage, now_us: int) -> None:
        """Renew the resource of a run that goes on, and tell it what it has lost."""
        held, resource = passage.held, passage.resource
        passage.next_us = now_us + _LOOK_US
        if resource is not None:
            if resource.age_us * 3 >= resource.lease_us:
                with suppress(StoreError):
                    resource.renew()
            passage.next_us = min(passage.next_us, now_us + max(1, resource.lease_us // 6))
        if held.started_us:
            held.note_loss()
            ends_us = [hold.until_us for hold in passage.holds() if not hold.lost]
            passage.next_us = min([passage.next_us, *ends_us])
        else:
            # It waits for its executor.
            with suppress(StoreError):
                self._keep_task_lock(passage, now_us)

    def _refuse(self, passage: Passage, why: str) -> None:
        self._close(passage)
        self._decide(passage, why)

    def _decide(self, passage: Passage, refusal: str | None) -> None:
        self._decided.append((passage.held, refusal))
        self._wake.set()

    # --- giving back --------------------------------------------------------------------------

    def _leave(self) -> None:
        while self._entering:
            self._passages[self._entering.popleft()] = None
        for passage in list(self._passages):
            if passage.held.still_runs:
                logger.warning(
                    "a run of %s goes on; its locks are left to their leases", passage.held.task_id
                )
            else:
                self._close(passage)

    def _close(self, passage: Passage) -> None:
        """Give back what a run held; its fire time too, where that wasn't dealt with."""
        self._passages.pop(passage, None)
        kept_us = passage.kept_us()
        if passage.resource is not None:
            passage.resource.release()
        if passage.task_lock is not None:
            passage.task_lock.release(kept_us)


def _label_us(held: Held) -> int | None:
    """Return the fire time that a run is for.

    None for runs on demand, and for those that are tried again, which don't ask what fire times
    have been dealt with: the one isn't for any, the other has been the one for its.
    """
    run = held.run
    if run.failures or run.source is Source.MANUAL:
        return None
    return run.fire_us if run.source is Source.SCHEDULED else run.due_us


def _not_leader(leader: LeaderElection) -> str:
    return f"this process isn't the leader of {leader.name!r}"
