"""The loop: one a store. What is due is planned, leased, handed over; what ended is written back.

`tick` is one step of it, callable by hand; a thread of its own calls it again and again in a
running scheduler. Each tick does a bounded amount of work and says when the next one has
something to do. A store that fails stops nothing but this: the tick is repeated with back-off for
ever, outcomes wait in memory, and once the store answers again the loop first finds out what
became of the steps whose end it didn't see.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickwork.errors import LeaseLostError, StoreError
from tickwork.interfaces import Store
from tickwork.model.events import StoreFailed, StoreRecovered
from tickwork.model.instants import NEVER_US, SECOND
from tickwork.model.jobs import Job
from tickwork.model.records import NodeRecord
from tickwork.model.steps import RecoverRequest
from tickwork.scheduler import planner
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.ending import Endings
from tickwork.scheduler.following import after_run
from tickwork.scheduler.gatekeeping import Gatekeeper
from tickwork.scheduler.held import Held
from tickwork.scheduler.histories import Histories
from tickwork.scheduler.holding import Holding
from tickwork.scheduler.ids import RunIds
from tickwork.scheduler.membership import Membership
from tickwork.scheduler.registry import Exclusions, FunctionRegistry
from tickwork.scheduler.sharing import Shares
from tickwork.scheduler.starting import FULL_US, Starter
from tickwork.scheduler.store_clock import StoreClock
from tickwork.scheduler.taking import Taker

if TYPE_CHECKING:
    from tickwork.coordination import Home
    from tickwork.scheduler.elections import Elections
    from tickwork.scheduler.turns import Turn

__all__ = ["LoopSettings", "StoreLoop"]

logger = logging.getLogger("tickwork.loop")

_IN_MEMORY = 200
"""How many tasks are planned at once in memory, where a step costs nothing: objects of a small
batch are gone before the garbage collector takes them for old ones and looks through everything."""

_FIRST_RETRY_US = SECOND // 10
_LAST_RETRY_US = 30 * SECOND


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How a loop works; durations in microseconds."""

    lease_us: int = 30 * SECOND
    beat_us: int = 10 * SECOND
    poll_us: int = 800_000
    prune_us: int = 60 * SECOND
    batch: int = 1_000
    max_history: int = 1_000
    result_ttl_us: int = 30 * 86_400 * SECOND
    timeout_us: int | None = None
    max_runs: int | None = None
    log_level: int = 0
    threaded: bool = True
    aside_from: int | None = 20
    """How many ends are worth a thread of their own, where the store's steps overlap."""


class StoreLoop:
    """The loop over one store. Only the thread that ticks touches what isn't said to be safe."""

    def __init__(
        self,
        store: Store,
        *,
        clock: StoreClock,
        shares: Shares,
        registry: FunctionRegistry,
        announcer: Announcer,
        settings: LoopSettings,
        new_node: Callable[[], NodeRecord],
        ids: RunIds,
        home: Home,
        elections: Elections,
        turn: Turn | None = None,
    ) -> None:
        self.store = store
        self.wake = threading.Event()
        self.looks_again_us = NEVER_US
        """While it waits: until when, if nobody wakes it. `NEVER_US` while it does something."""
        self.quiet = threading.Event()
        self.active = True
        self.draining = False
        self._only: frozenset[str] | None = None
        self.clock = clock
        self._executors = shares.of(self.wake)
        self._announcer = announcer
        self._settings = settings
        self._may_rest = settings.threaded and not store.persistent
        self.holding = Holding(
            store,
            announcer,
            after_run,
            self.wake,
            clock=clock,
            aside_from=settings.aside_from if getattr(store, "overlaps", False) else None,
        )
        self._endings = Endings(
            store, self.holding, self._executors, clock=clock, timeout_us=settings.timeout_us
        )
        self._membership = Membership(
            store,
            clock,
            new_node,
            lease_us=settings.lease_us,
            beaten_after_us=settings.beat_us * (2 if settings.threaded else 1),
            renewed=self.holding.renew,
        )
        self._turn = turn
        self._starter = Starter(
            store,
            self._executors,
            self.holding,
            endings=self._endings,
            gates=Gatekeeper(home, elections, self.wake, threaded=settings.threaded),
            registry=registry,
            announcer=announcer,
            leave_function=self._leave_function,
            threaded=settings.threaded,
        )
        self._exclusions = Exclusions()
        self._histories = Histories(
            store,
            max_history=settings.max_history,
            result_ttl_us=settings.result_ttl_us,
            prune_us=settings.prune_us,
            batch=settings.batch,
        )
        self._taker = Taker(
            store,
            self._executors,
            self.holding,
            starter=self._starter,
            histories=self._histories,
            membership=self._membership,
            registry=registry,
            exclusions=self._exclusions,
            announcer=announcer,
            leave_function=self._leave_function,
            ids=RunIds(self.node_id, ids),
            batch=settings.batch if store.persistent else min(settings.batch, _IN_MEMORY),
            bounded=shares.bounded,
            turn=turn,
        )
        self._recovered_at_us = 0
        self._retry_us = 0
        self._again = False

    # --- what other threads may call ----------------------------------------------------------

    @property
    def node_id(self) -> str:
        """The id of the node that this loop is at present."""
        return self._membership.node.id

    def in_flight(self) -> list[Held]:
        """Return what is leased and not written back; from any thread."""
        return self.holding.in_flight()

    def note_history(self, task_id: str, keep: int | None) -> None:
        """Note that a run of a task has ended otherwise than by its execution here."""
        self._histories.note(task_id, keep)

    def may_time_out(self, held: Held) -> bool:
        """Whether a run may take only so long."""
        return self._endings.has_timeout(held)

    def execute_only(self, run_ids: Iterable[str]) -> None:
        """Lease these runs although the loop is draining or paused; from any thread."""
        self._only = frozenset(run_ids) | (self._only or frozenset())
        self.quiet.clear()
        self.wake.set()

    def has_any(self, run_ids: Collection[str]) -> bool:
        """Whether any of some runs is still to be leased or under way; from any thread."""
        waits = self._only is not None
        return waits or any(run_id in self.holding.held for run_id in run_ids)

    def end_run(self, run_id: str, why: str) -> None:
        """Have a run ended that is under way here, if it is; from any thread."""
        self._endings.request(run_id, why)

    def forgive(self) -> None:
        """Look again, also at what could not be executed here: something has changed."""
        self._exclusions.forgive()
        self.wake.set()

    def look_at(self, due_us: int) -> None:
        """Look at new tasks, which are in the store, when the first is due; from any thread.

        What is due when the loop looks anyway needs no look of its own.
        """
        earlier = self.active and due_us < self.looks_again_us
        if self._exclusions.forgive() or earlier:
            self.wake.set()

    def beat(self) -> None:
        """Renew the node's lease; from the thread that beats."""
        if not self._membership.beat():
            self.wake.set()

    # --- the loop -----------------------------------------------------------------------------

    def tick(self) -> int | None:
        """Do what is to be done now; return when there is more, None for when woken."""
        now_us = self.clock.now_us()
        try:
            next_us = self._step(now_us)
        except LeaseLostError:
            self._membership.lapsed.set()
            return now_us
        except StoreError as error:
            return self._store_failed(error, now_us)
        except Exception as error:
            # The one broad except of the loop: whatever it is, the next tick comes.
            if not self._retry_us:
                logger.exception("tick failed; going on", extra={"node": self.node_id})
            return self._store_failed(error, now_us)
        if self._retry_us:
            self._retry_us = 0
            logger.warning("store answers again", extra={"node": self.node_id})
            self._announcer.emit(StoreRecovered, store=self._announcer.store)
        return next_us

    def _store_failed(self, error: Exception, now_us: int) -> int:
        self.holding.rests = False
        if not self._retry_us:
            logger.error("store failed, will be retried: %s", error, extra={"node": self.node_id})
            self._announcer.emit(StoreFailed, store=self._announcer.store, error=str(error))
        self._retry_us = min(max(_FIRST_RETRY_US, self._retry_us * 2), _LAST_RETRY_US)
        retried_us = now_us + int(self._retry_us * random.uniform(0.75, 1.25))  # noqa: S311  no secret
        ends_us = self._endings.next_us()
        return retried_us if ends_us is None else min(retried_us, max(ends_us, now_us))

    def _step(self, now_us: int) -> int | None:
        self._again = self._starter.again = self._taker.again = self._taker.dense = False
        # What has ended by itself needs no end any more, however long ago it was; and what is to
        # be ended is, whether the store answers or not.
        self.holding.collect(now_us)
        self._endings.keep(now_us)
        if self._membership.lapsed.is_set():
            self._begin_anew()
        self._membership.keep(now_us)
        if self._membership.lapsed.is_set():
            return now_us
        # Registering has told how far the clock here is from the store's.
        now_us = self.clock.now_us()
        self._endings.ask(self.node_id, now_us)
        candidates: list[int | None] = []
        with self.holding.written_beside(now_us):
            self._recover_if_due(now_us)
            candidates.append(self._starter.keep_gates(now_us, draining=self.draining))
            if self._fires() or self._only or self._has_its_own():
                candidates += self._take_work(now_us)
        self._histories.note_ended(self.holding.ended, now_us)
        self.holding.ended.clear()
        self._starter.start_marked(now_us)
        self._prune(now_us)
        if self.draining and not self._only and self.holding.is_empty():
            self.quiet.set()
        return self._next_tick(now_us, candidates)

    def _has_more(self) -> bool:
        """Whether this tick has left something to do at once."""
        return self._again or self._starter.again or self._taker.again

    def _prune(self, now_us: int) -> None:
        """Forget what is too old or too much, once there is nothing else to do."""
        if self._has_more() or not self._histories.is_due(now_us):
            return
        if self._histories.prune(now_us):
            self.wake.set()

    def _next_tick(self, now_us: int, candidates: list[int | None]) -> int | None:
        more = self._has_more()
        # Said before the inbox is looked at: nothing may come in between, and wake nobody.
        self.holding.rests = self._may_rest and self._taker.dense and not more
        if more or (self.holding.inbox and not self.holding.rests):
            return now_us
        candidates += [
            self.holding.next_mark_us(), self.holding.next_note_us(), self._endings.next_us()
        ]  # fmt: skip
        settings = self._settings
        if settings.threaded and any(share.waits() for share in self._executors.values()):
            candidates.append(now_us + FULL_US)
        if settings.threaded:
            # A stepped loop is told when to look; it does these things when it does.
            looks = self.store.persistent or self._turn is not None
            if looks and self.active and not self.draining:
                candidates.append(now_us + settings.poll_us)
            candidates += [self._histories.next_us(), self._endings.asks_us()]
        known = [each for each in candidates if each is not None]
        return max(now_us, min(known)) if known else None

    def _begin_anew(self) -> None:
        """Become another node: the lease of this one is over, its runs belong to others."""
        logger.warning("lease lost; registering anew", extra={"node": self.node_id})
        self.holding.withdraw_unstarted()
        for held in self.holding.in_flight():
            # Somebody else executes it again; what it could still say counts no more.
            self._executors[held.run.executor].cancel(held.run_id)
        self._starter.let_waiting_go()
        self._membership.begin_anew()
        self._taker.begin_anew()

    def give_locks_back(self, still_running: Collection[str]) -> None:
        """Give back what runs were let through for; call it when nothing goes on any more here."""
        self._starter.stop_gates(self.holding.in_flight(), still_running)

    def leave(self) -> None:
        """Say that this node will not be back; what it still holds is left to its lease."""
        self._membership.leave()

    def give_up(self, unstarted: Sequence[Job], ended: Sequence[Job]) -> list[str]:
        """Give back what executors left when they were stopped; return what is still running.

        `ended` are jobs that were ended in the middle. Call it when the loop doesn't tick any more.
        """
        # Neither in an executor, nor ever told to one.
        waiting = self._starter.let_waiting_go()
        waiting += [held for held in self.holding.in_flight() if held.at_gate]
        return self.holding.wind_up([*unstarted, *waiting], ended, self.clock.now_us())

    # --- planning and leasing -----------------------------------------------------------------

    def _fires(self) -> bool:
        """Whether to take new work."""
        fires = self.active and not self.draining
        return fires and (self._turn is None or self._turn.is_mine(self.clock.now_us()))

    def _has_its_own(self) -> bool:
        """Whether what is submitted here is known to nobody else, and executed also out of turn."""
        return self.active and not self.draining and not self.store.persistent

    def _take_work(self, now_us: int) -> list[int | None]:
        only = self._only
        candidates = self._taker.take(now_us, plans=self._fires(), only=only)
        if only is not None:
            # What was added meanwhile is leased by the next tick.
            self._only = None if self._only is only else self._only
            self._again = True
        return candidates

    def _leave_function(self, reference: str, problem: str, now_us: int) -> None:
        self._exclusions.add_function(reference, problem, now_us)
        self._membership.unresolved = tuple(sorted(self._exclusions.functions()))

    # --- recovery and history -----------------------------------------------------------------

    def _recover_if_due(self, now_us: int) -> None:
        if self._taker.doubtful:
            self._recover(now_us, held=frozenset(self.holding.held))
            self._taker.doubtful = False
        elif now_us - self._recovered_at_us >= self._settings.lease_us // 3:
            self._recover(now_us, held=None)

    def _recover(self, now_us: int, held: frozenset[str] | None) -> None:
        reply = self.store.recover(
            RecoverRequest(self.node_id, now_us, planner.take_over, after_run, held)
        )
        if not reply.more:
            self._recovered_at_us = now_us
        for node_id in reply.dead:
            logger.warning("node is dead, taking its runs over", extra={"node": node_id})
        for run in reply.runs:
            self._announcer.recorded(run)
        self._again |= reply.more or bool(reply.runs)
