"""The loop: one a store. What is due is planned, leased, handed over; what ended is written back.

`tick` is one step of it, callable by hand; a thread of its own calls it again and again in a
running scheduler. Each tick does a bounded amount of work and says when the next one has
something to do. A store that fails stops nothing but this: the tick is repeated with back-off for
ever, outcomes wait in memory, and once the store answers again the loop first finds out what
became of the steps whose end it didn't see.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tickwork.errors import LeaseLostError, StoreError
from tickwork.interfaces import Clock, Executor, Store
from tickwork.model.definition import Definition
from tickwork.model.events import StoreFailed, StoreRecovered, TaskUnplannable
from tickwork.model.instants import SECOND
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import Leased, NodeRecord, TaskRecord
from tickwork.model.steps import (
    Batch,
    Deferral,
    Edit,
    Finished,
    GivenBack,
    LeaseRequest,
    Mark,
    Plan,
    PlanRequest,
    PruneRequest,
    RecoverRequest,
)
from tickwork.model.values import decode_arguments
from tickwork.scheduler import planner
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.guard import Guarded, guarded, guarded_trigger
from tickwork.scheduler.held import Held, concluded, failed, left_over
from tickwork.scheduler.ids import RunIds
from tickwork.scheduler.registry import Exclusions, FunctionRegistry

__all__ = ["LoopSettings", "StoreLoop"]

logger = logging.getLogger("tickwork.loop")

_FIRST_RETRY_US = SECOND // 10
_LAST_RETRY_US = 30 * SECOND
_MARKED_AFTER_US = SECOND // 10


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How a loop works; durations in microseconds."""

    lease_us: int = 30 * SECOND
    beat_us: int = 10 * SECOND
    poll_us: int = SECOND
    prune_us: int = 60 * SECOND
    batch: int = 1_000
    max_history: int = 1_000
    result_ttl_us: int = 30 * 86_400 * SECOND
    threaded: bool = True


class StoreLoop:
    """The loop over one store. Only the thread that ticks touches what isn't said to be safe."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        executors: Mapping[str, Executor],
        registry: FunctionRegistry,
        announcer: Announcer,
        settings: LoopSettings,
        new_node: Callable[[], NodeRecord],
    ) -> None:
        self.store = store
        self.wake = threading.Event()
        self.quiet = threading.Event()
        self.active = True
        self.draining = False
        self._only: frozenset[str] | None = None
        self._clock = clock
        self._executors = executors
        self._names = frozenset(executors)
        self._registry = registry
        self._announcer = announcer
        self._settings = settings
        self._new_node = new_node
        self._node = new_node()
        self._ids = RunIds(self._node.id)
        self._inbox: deque[Outcome] = deque()
        self._held: dict[str, Held] = {}
        self._awaiting_mark: dict[str, deque[Held]] = {name: deque() for name in executors}
        self._young: deque[tuple[int, list[Held]]] = deque()
        self._unwritten: list[tuple[Finished, Held, Outcome | None]] = []
        self._given_back: list[GivenBack] = []
        self._exclusions = Exclusions()
        self._pruned: dict[str, int] = {}
        self._registered = False
        self._lapsed = threading.Event()
        self._beat_at_us = 0
        self._recovered_at_us = 0
        self._pruned_at_us = 0
        self._doubtful = False
        self._retry_us = 0
        self._again = False

    # --- what other threads may call ----------------------------------------------------------

    @property
    def node_id(self) -> str:
        """The id of the node that this loop is at present."""
        return self._node.id

    def receive(self, outcome: Outcome) -> None:
        """Take the outcome of an attempt; from any thread."""
        self._inbox.append(outcome)

    def changed(self) -> None:
        """Look again: something was added or changed here; from any thread."""
        self.wake.set()

    def in_flight(self) -> list[Held]:
        """Return what is leased and not written back; from any thread."""
        return list(self._held.values())

    def execute_only(self, run_ids: Iterable[str]) -> None:
        """Lease these runs although the loop is draining; from any thread."""
        self._only = frozenset(run_ids)
        self.quiet.clear()
        self.wake.set()

    def forgive(self) -> None:
        """Try again what could not be executed here: functions may be known now."""
        self._exclusions.forgive()
        self.wake.set()

    # --- the loop -----------------------------------------------------------------------------

    def tick(self) -> int | None:
        """Do what is to be done now; return when there is more, None for when woken."""
        now_us = self._clock.now_us()
        try:
            next_us = self._step(now_us)
        except LeaseLostError:
            self._lapsed.set()
            return now_us
        except StoreError as error:
            return self._store_failed(error, now_us)
        except Exception as error:
            # The one broad except of the loop: whatever it is, the next tick comes.
            logger.exception("tick failed; going on", extra={"node": self._node.id})
            return self._store_failed(error, now_us)
        if self._retry_us:
            self._retry_us = 0
            logger.warning("store answers again", extra={"node": self._node.id})
            self._announcer.emit(StoreRecovered, StoreRecovered, store=self._announcer.store)
        return next_us

    def _store_failed(self, error: Exception, now_us: int) -> int:
        if not self._retry_us:
            logger.error("store failed, will be retried: %s", error, extra={"node": self._node.id})
            self._announcer.emit(
                StoreFailed, StoreFailed, store=self._announcer.store, error=str(error)
            )
        self._retry_us = min(max(_FIRST_RETRY_US, self._retry_us * 2), _LAST_RETRY_US)
        return now_us + int(self._retry_us * random.uniform(0.75, 1.25))  # noqa: S311  no secret

    def _step(self, now_us: int) -> int | None:
        self._again = False
        self._stay_registered(now_us)
        self._write_back(now_us)
        if self._doubtful:
            self._recover(now_us, held=frozenset(self._held))
            self._doubtful = False
        elif now_us - self._recovered_at_us >= self._settings.lease_us // 3:
            self._recover(now_us, held=None)
        candidates: list[int | None] = []
        if (self.active and not self.draining) or self._only:
            candidates += self._take_work(now_us)
        self._start_marked(now_us)
        self._prune(now_us)
        if self.draining and not (self._held or self._inbox or self._unwritten or self._only):
            self.quiet.set()
        return self._next_tick(now_us, candidates)

    def _next_tick(self, now_us: int, candidates: list[int | None]) -> int | None:
        if self._again or self._inbox:
            return now_us
        settings = self._settings
        # A stepped loop is told when to look, and beats when it does.
        if settings.threaded and self.store.persistent and self.active and not self.draining:
            candidates.append(now_us + settings.poll_us)
        while self._young and not any(each.run_id in self._held for each in self._young[0][1]):
            self._young.popleft()
        if self._young:
            candidates.append(self._young[0][0] + _MARKED_AFTER_US)
        if self._pruned and settings.threaded:
            candidates.append(self._pruned_at_us + settings.prune_us)
        known = [each for each in candidates if each is not None]
        return max(now_us, min(known)) if known else None

    # --- node ---------------------------------------------------------------------------------

    def _stay_registered(self, now_us: int) -> None:
        if self._lapsed.is_set():
            self._begin_anew()
        if not self._registered:
            self.store.beat(self._node, self._settings.lease_us)
            self._registered = True
            self._beat_at_us = now_us
            self._node.beat_us = now_us
        patience = 2 if self._settings.threaded else 1
        if now_us - self._beat_at_us >= patience * self._settings.beat_us:
            self.beat()
            if self._lapsed.is_set():
                self._stay_registered(now_us)

    def beat(self) -> None:
        """Renew the node's lease; from the thread that beats, or from this one."""
        if not self._registered:
            return
        node = replace(self._node, unresolved=tuple(sorted(self._exclusions.functions())))
        beat = self.store.beat(node, self._settings.lease_us)
        if node.id != self._node.id:
            return
        if beat.alive:
            self._beat_at_us = self._clock.now_us()
        else:
            self._lapsed.set()
            self.wake.set()

    def _begin_anew(self) -> None:
        """Become another node: the lease of this one is over, its runs belong to others."""
        logger.warning(
            "lease lost; registering anew",
            extra={"node": self._node.id, "in_flight": len(self._held)},
        )
        for held in list(self._held.values()):
            if held.job is None or not held.job.started_us:
                if held.job is not None:
                    held.job.withdrawn = True
                del self._held[held.run_id]
        for name, waiting in self._awaiting_mark.items():
            self._executors[name].release(len(waiting))
            waiting.clear()
        self._node = self._new_node()
        self._ids = RunIds(self._node.id)
        self._registered = False
        self._lapsed.clear()

    def leave(self) -> None:
        """Say that this node will not be back; what it still holds is left to its lease."""
        if self._registered:
            self._registered = False
            self.store.beat(self._node, self._settings.lease_us, leaving=True)

    # --- planning and leasing -----------------------------------------------------------------

    def _take_work(self, now_us: int) -> list[int | None]:
        reserved = {
            name: executor.reserve(self._settings.batch)
            for name, executor in self._executors.items()
        }
        try:
            leasable = self._lease(now_us, reserved)
            plans = self.active and not self.draining
            plannable = self._plan(now_us, reserved) if plans else None
        except BaseException:
            # Whether the step took effect isn't known: ask, once the store answers.
            self._doubtful = True
            raise
        finally:
            for name, places in reserved.items():
                if places:
                    self._executors[name].release(places)
        return [leasable, plannable]

    def _lease(self, now_us: int, reserved: dict[str, int]) -> int | None:
        capacity = {name: places for name, places in reserved.items() if places}
        if not capacity:
            return None
        request = LeaseRequest(
            self._node.id,
            now_us,
            self._exclusions.eligibility(frozenset(capacity), now_us),
            capacity,
            suspects=not any(held.suspect for held in self._held.values()),
            only=self._only,
        )
        reply = self.store.lease(request)
        for task_id, deferral in reply.deferred:
            self._exclude(task_id, deferral, now_us)
        if self._only is not None:
            self._only = None
            self._again = True
        if reply.leased or reply.deferred:
            self._again = True
            self._hand_over(reply.leased, reserved, now_us)
        return reply.next_us

    def _plan(self, now_us: int, reserved: dict[str, int]) -> int | None:
        request = PlanRequest(
            self._node.id,
            now_us,
            self._settings.batch,
            self._exclusions.eligibility(self._names, now_us),
            reserved,
            lambda task: self._decide(task, now_us),
            self._ids.at(now_us),
        )
        reply = self.store.plan(request)
        for task_id, deferral in reply.deferred:
            self._exclude(task_id, deferral, now_us)
        self._hand_over(reply.leased, reserved, now_us)
        for run in reply.recorded:
            self._announcer.recorded(run)
            if run.state is not RunState.PENDING:
                self._note_history(run.task_id, None)
        self._again |= reply.more
        return reply.next_us

    def _decide(self, task: TaskRecord, now_us: int) -> Plan | Deferral:
        definition = planner.definition_of(task)
        if self._registry.target(definition) is None:
            return Deferral("its function isn't known here yet", definition.function)
        planned = guarded_trigger(definition.trigger, lambda: planner.plan(task, now_us))
        if planned.value is not None:
            return planned.value
        return Deferral(f"its trigger failed: {_named(planned)}")

    def _exclude(self, task_id: str, deferral: Deferral, now_us: int) -> None:
        reason = deferral.reason
        self._again = True
        if deferral.function is not None:
            problem = self._registry.resolve(deferral.function)
            if problem is None:
                return
            reason = problem
            self._exclusions.add_function(deferral.function, reason, now_us)
        if not self._exclusions.add_task(task_id, reason, now_us):
            return
        logger.error(
            "task can't be executed here: %s (%s)", task_id, reason, extra={"task_id": task_id}
        )
        self._announcer.emit(
            TaskUnplannable,
            TaskUnplannable,
            task_id=task_id,
            store=self._announcer.store,
            reason=reason,
        )
        self.store.edit(
            [task_id],
            lambda task: Edit(replace(task, problem=reason)),
            self._ids.at(now_us),
        )

    # --- handing over -------------------------------------------------------------------------

    def _hand_over(self, leased: Sequence[Leased], reserved: dict[str, int], now_us: int) -> None:
        if not leased:
            return
        ready: dict[str, list[Job]] = {}
        young = []
        for run, definition in leased:
            held = Held.of(self, run, definition)
            self._held[run.id] = held
            job = self._job(held, now_us)
            if job is None:
                continue
            name = definition.executor
            reserved[name] -= 1
            if held.suspect or definition.marks_start:
                self._awaiting_mark[name].append(held)
                self._again = True
            else:
                ready.setdefault(name, []).append(job)
                young.append(held)
                self._announcer.started(held)
        for name, jobs in ready.items():
            self._executors[name].start(jobs)
        if young:
            self._young.append((now_us, young))

    def _job(self, held: Held, now_us: int) -> Job | None:
        definition = held.definition
        target = self._registry.target(definition)
        if target is None:
            problem = self._registry.resolve(definition.function)
            if problem is not None:
                self._exclusions.add_function(definition.function, problem, now_us)
                self._given_back.append(GivenBack(held.run_id, held.fence, held.due_us or now_us))
                return None
            target = self._registry.known(definition.function)
        args: Sequence[Any] = ()
        kwargs: Mapping[str, Any] = {}
        if definition.payload:
            decoded = guarded(lambda: decode_arguments(definition.payload, target))
            if decoded.value is None:
                error = decoded.error or ValueError("no arguments")
                self._unwritten.append((failed(held, error, now_us), held, None))
                self._again = True
                return None
            args, kwargs = decoded.value
        held.job = Job(
            held.run_id,
            held.task_id,
            held.attempt,
            target,
            args,
            kwargs,
            "" if definition.target is not None else definition.function,
            definition.payload,
            lease=held,
        )
        return held.job

    def _start_marked(self, now_us: int) -> None:
        """Start what must not start without being written down first, as far as it starts now."""
        for name, waiting in self._awaiting_mark.items():
            if not waiting:
                continue
            executor = self._executors[name]
            # Places that are reserved for those that wait here are idle, too.
            count = min(executor.idle(), len(waiting))
            if not count:
                continue
            batch = Batch(_after_run)
            first = [waiting[at] for at in range(count)]
            batch.marks += [Mark(held.run_id, held.fence, now_us) for held in first]
            rejected = self.store.finish(batch)
            jobs = []
            for held in first:
                waiting.popleft()
                if held.run_id in rejected:
                    self._announcer.lease_lost(held)
                    del self._held[held.run_id]
                    executor.release(1)
                elif held.job is not None:
                    held.marked = True
                    jobs.append(held.job)
                    self._announcer.started(held)
            executor.start(jobs)

    # --- writing back -------------------------------------------------------------------------

    def _write_back(self, now_us: int) -> None:
        self._collect(now_us)
        batch = Batch(_after_run)
        marked = self._marks(now_us)
        batch.marks += [
            Mark(held.run_id, held.fence, held.job.started_us) for held in marked if held.job
        ]
        batch.given_back += self._given_back
        batch.finished += [finished for finished, _, _ in self._unwritten]
        if not batch:
            return
        rejected = self.store.finish(batch)
        written, self._unwritten, self._given_back = self._unwritten, [], []
        for held in marked:
            held.marked = True
        for back in batch.given_back:
            self._held.pop(back.run_id, None)
        for finished, held, outcome in written:
            self._held.pop(finished.run_id, None)
            if finished.run_id in rejected:
                self._announcer.lease_lost(held)
                continue
            self._note_history(finished.task_id, held.definition)
            unstarted = Outcome(held.job or _no_job(held), finished.state, 0, now_us)
            self._announcer.finished(held, outcome or unstarted, finished.reason)

    def _collect(self, now_us: int) -> None:
        """Turn outcomes that came in into what is to be written."""
        inbox = self._inbox
        for _ in range(len(inbox)):
            outcome = inbox.popleft()
            held: Held = outcome.job.lease
            if self._held.get(held.run_id) is not held:
                if not outcome.job.withdrawn:
                    self._announcer.lease_lost(held)
                continue
            if outcome.job.withdrawn and not outcome.started_us:
                self._given_back.append(GivenBack(held.run_id, held.fence, held.due_us or now_us))
                continue
            self._unwritten.append((concluded(held, outcome), held, outcome))

    def _marks(self, now_us: int) -> list[Held]:
        """Return the runs that have been under way for a moment without being marked.

        Most runs are over by then and never need a mark of their own.
        """
        marks: list[Held] = []
        unstarted: list[Held] = []
        while self._young and now_us - self._young[0][0] >= _MARKED_AFTER_US:
            _, young = self._young.popleft()
            for held in young:
                if self._held.get(held.run_id) is not held or held.job is None:
                    continue
                (marks if held.job.started_us else unstarted).append(held)
        if unstarted:
            self._young.append((now_us, unstarted))
        over = {finished.run_id for finished, _, _ in self._unwritten}
        return [held for held in marks if held.run_id not in over]

    # --- recovery and history -----------------------------------------------------------------

    def _recover(self, now_us: int, held: frozenset[str] | None) -> None:
        reply = self.store.recover(
            RecoverRequest(self._node.id, now_us, planner.take_over, _after_run, held)
        )
        if not reply.more:
            self._recovered_at_us = now_us
        else:
            self._again = True
        for node_id in reply.dead:
            logger.warning("node is dead, taking its runs over", extra={"node": node_id})
        for run in reply.runs:
            self._announcer.recorded(run)
        if reply.runs:
            self._again = True

    def _note_history(self, task_id: str, definition: Definition | None) -> None:
        keep = definition.max_history if definition is not None else None
        if keep is not None:
            self._pruned[task_id] = keep
        else:
            self._pruned.setdefault(task_id, self._settings.max_history)

    def _prune(self, now_us: int) -> None:
        if now_us - self._pruned_at_us < self._settings.prune_us or self._again:
            return
        self._pruned_at_us = now_us
        histories, self._pruned = self._pruned, {}
        before_us = now_us - self._settings.result_ttl_us
        # In pieces, so that the loop never waits long; a full piece means that there is more.
        names = list(histories)
        piece = {name: histories[name] for name in names[: self._settings.batch]}
        self._pruned |= {name: histories[name] for name in names[self._settings.batch :]}
        gone = self.store.prune(PruneRequest(piece, before_us, self._settings.batch))
        if gone >= self._settings.batch or self._pruned:
            self._pruned |= piece if gone >= self._settings.batch else {}
            self._pruned_at_us = 0
            self._again = True

    # --- the end ------------------------------------------------------------------------------

    def give_up(self, unstarted: Sequence[Job], ended: Sequence[Job]) -> list[str]:
        """Give back what executors left when they were stopped; return what is still running.

        `ended` are jobs that were ended in the middle. Call it when the loop doesn't tick any more.
        """
        now_us = self._clock.now_us()
        for job in unstarted:
            held: Held = job.lease
            self._given_back.append(GivenBack(held.run_id, held.fence, held.due_us or now_us))
        for name, waiting in self._awaiting_mark.items():
            self._executors[name].release(len(waiting))
            for held in waiting:
                self._given_back.append(GivenBack(held.run_id, held.fence, held.due_us or now_us))
            waiting.clear()
        for job in ended:
            verdict = left_over(job.lease, now_us)
            if isinstance(verdict, GivenBack):
                self._given_back.append(verdict)
            else:
                outcome = Outcome(job, verdict.state, verdict.started_us or 0, now_us)
                self._unwritten.append((verdict, job.lease, outcome))
        self._write_back(now_us)
        return list(self._held)


def _after_run(task: TaskRecord, finished_us: int) -> None:
    """Move a task on after its run; one whose trigger fails is paused, with the reason."""
    trigger = planner.definition_of(task).trigger
    moved = guarded_trigger(trigger, lambda: planner.after_run(task, finished_us))
    if moved.error is not None:
        task.state = ScheduleState.PAUSED
        task.problem = task.paused_reason = f"its trigger failed: {_named(moved)}"


def _named(failure: Guarded[Any]) -> str:
    return f"{type(failure.error).__name__}: {failure.error}"


def _no_job(held: Held) -> Job:
    return Job(held.run_id, held.task_id, held.attempt, print, lease=held)
