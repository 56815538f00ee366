"""Taking work: what is due is planned, what may start is leased, and handed over.

Each step asks only for as much as there are places for. What can't be planned here is left alone
with its reason, and stands in nobody's way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tickwork.interfaces import Store
from tickwork.model.events import TaskResumed, TaskUnplannable
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Deferral, Edit, LeaseRequest, Plan, PlanReply, PlanRequest
from tickwork.scheduler import planner
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.following import named
from tickwork.scheduler.guard import guarded_trigger
from tickwork.scheduler.histories import Histories
from tickwork.scheduler.holding import Holding
from tickwork.scheduler.ids import RunIds
from tickwork.scheduler.membership import Membership
from tickwork.scheduler.registry import Exclusions, FunctionRegistry
from tickwork.scheduler.sharing import Share
from tickwork.scheduler.starting import Starter

if TYPE_CHECKING:
    from tickwork.scheduler.turns import Turn

__all__ = ["DENSE_US", "Taker"]

logger = logging.getLogger("tickwork.loop")

DENSE_US = 1_000
"""Fire times that follow each other so closely in memory are taken together: a tick for each would
cost more than the runs themselves."""

_AHEAD = 8
"""Which part of a batch is planned at least, however few places there are."""

_NOT_YET = Deferral("the end of a run of it is just being written: it would be judged as under way")


class Taker:
    """Takes the work of one loop.

    `again` says that there is more to do at once, `doubtful` that nobody knows whether a step took
    effect, `dense` that what was planned is followed closely. `leave_function` is told of a
    function that can't be had, why, and when that was found.
    """

    def __init__(
        self,
        store: Store,
        executors: Mapping[str, Share],
        holding: Holding,
        *,
        starter: Starter,
        histories: Histories,
        membership: Membership,
        registry: FunctionRegistry,
        exclusions: Exclusions,
        announcer: Announcer,
        leave_function: Callable[[str, str, int], None],
        ids: RunIds,
        batch: int,
        bounded: bool,
        turn: Turn | None,
    ) -> None:
        self.again = False
        self.doubtful = False
        self.dense = False
        self._store = store
        self._executors = executors
        self._names = frozenset(executors)
        self._names_in_turn = deque(executors)
        self._bounded = bounded
        self._holding = holding
        self._starter = starter
        self._histories = histories
        self._membership = membership
        self._registry = registry
        self._exclusions = exclusions
        self._announcer = announcer
        self._leave_function = leave_function
        self._ids = ids
        self._batch = batch
        self._plannable = batch
        self._turn = turn
        # In a store that others share, they have moved on what they dealt with.
        self._planner = planner.plan if turn is None or store.persistent else turn.plan
        self._going_on: dict[str, None] = {}
        self._ranked = False

    def begin_anew(self) -> None:
        """Make ids as the node that this one is now."""
        self._ids = RunIds(self._membership.node.id, self._ids)

    def take(self, now_us: int, *, plans: bool, only: frozenset[str] | None) -> list[int | None]:
        """Lease what may start, `only` some runs if there are any, and plan what is due.

        Return when there is more to do.
        """
        if self._bounded:
            return self._take_by_turns(now_us, plans=plans, only=only)
        with self._reserved(self._executors) as reserved:
            candidates = [self._lease(now_us, reserved, only)]
            candidates.append(self._plan(now_us, reserved) if plans else None)
        return candidates

    def _take_by_turns(
        self, now_us: int, *, plans: bool, only: frozenset[str] | None
    ) -> list[int | None]:
        """Ask for each executor alone, another one first each time.

        None may keep the few runs that there may be from the others by reserving places for them.
        """
        candidates = [self._plan(now_us, {})] if plans else []
        self._names_in_turn.rotate()
        for name in list(self._names_in_turn):
            with self._reserved([name]) as reserved:
                candidates.append(self._lease(now_us, reserved, only))
        return candidates

    @contextmanager
    def _reserved(self, names: Iterable[str]) -> Iterator[dict[str, int]]:
        """Set places of executors aside; what isn't used of them is given back at the end."""
        reserved = {name: self._executors[name].reserve(self._batch) for name in names}
        try:
            yield reserved
        except BaseException:
            # Whether the step took effect isn't known: ask, once the store answers.
            self.doubtful = True
            raise
        finally:
            for name, places in reserved.items():
                if places:
                    self._executors[name].release(places)

    def _lease(
        self, now_us: int, reserved: dict[str, int], only: frozenset[str] | None
    ) -> int | None:
        capacity = {name: places for name, places in reserved.items() if places}
        if not capacity:
            return None
        reply = self._store.lease(
            LeaseRequest(
                self._membership.node.id,
                now_us,
                self._exclusions.eligibility(frozenset(capacity), now_us, leasing=True),
                capacity,
                suspects=not self._holding.suspects(),
                only=only,
            )
        )
        if reply.leased or reply.deferred:
            self.again = True
            self._starter.hand_over(reply.leased, reserved, now_us)
            for task_id, deferral in reply.deferred:
                self._exclude(task_id, deferral, now_us)
                self._exclusions.leave_runs(task_id)
        return reply.next_us

    def _plan(self, now_us: int, reserved: dict[str, int]) -> int | None:
        # What is planned is leased at once, in the order of fire times; not so where priorities
        # say otherwise, and not all could start at once.
        capacity: Mapping[str, int] = reserved
        if self._ranked and any(self._executors[name].idle() < self._batch for name in reserved):
            capacity = {}
        reply = self._store.plan(
            PlanRequest(
                self._membership.node.id,
                now_us,
                self._plannable,
                self._exclusions.eligibility(self._names, now_us),
                capacity,
                lambda task: self._decide(task, now_us),
                self._ids.at(now_us),
            )
        )
        if self._turn is not None:
            # First, so that nothing is executed twice; what this process dies of, is gone with it.
            some = bool(reply.leased or reply.recorded)
            self._turn.planned(now_us, some=some, more=reply.more)
        soon = reply.next_us is not None and reply.next_us < now_us + DENSE_US
        self.dense = soon and bool(reply.leased)
        self._note_places(reply)
        if capacity is not reserved:
            self.again |= any(run.available_us is not None for run in reply.recorded)
        self._starter.hand_over(reply.leased, reserved, now_us)
        for run in reply.recorded:
            self._announcer.recorded(run)
        self._histories.note_recorded(reply.recorded)
        self._tell_of_resumed()
        for task_id, deferral in reply.deferred:
            self._exclude(task_id, deferral, now_us)
        # What is just being written may have kept a task locked, and passed over.
        self.again |= reply.more or bool(self._holding.being_written)
        return reply.next_us

    def _note_places(self, reply: PlanReply) -> None:
        """Plan fewer at a time while there is no place for most: each had to be leased later.

        Some are planned all the same: other nodes may have places, and a fire time that is due is
        accounted for now.
        """
        waits = sum(run.available_us is not None for run in reply.recorded)
        placed = max(2 * len(reply.leased), self._batch // _AHEAD)
        self._plannable = min(self._batch, placed) if waits else self._batch

    def _tell_of_resumed(self) -> None:
        """Tell which tasks went on because their pause had an end."""
        for task_id in self._going_on:
            self._announcer.emit(TaskResumed, task_id=task_id, store=self._announcer.store)
        self._going_on.clear()

    def _decide(self, task: TaskRecord, now_us: int) -> Plan | Deferral:
        definition = planner.definition_of(task)
        self._ranked |= definition.priority != 0
        self._histories.note_planned(task.id, definition.max_history)
        if task.id in self._holding.being_written:
            return _NOT_YET
        if not self._registry.has(definition):
            return Deferral("its function isn't known here yet", definition.function)
        planned = guarded_trigger(definition.trigger, self._planner, task, now_us)
        if planned.value is not None:
            if task.state is ScheduleState.PAUSED:
                self._going_on[task.id] = None
            return planned.value
        return Deferral(f"its trigger failed: {named(planned)}")

    def _exclude(self, task_id: str, deferral: Deferral, now_us: int) -> None:
        """Leave a task alone that can't be planned here, and say why, once."""
        reason = deferral.reason
        self.again = True
        if deferral is _NOT_YET:
            return
        if deferral.function is not None:
            problem = self._registry.resolve(deferral.function)
            if problem is None:
                self._exclusions.forget_function(deferral.function)
                self._membership.unresolved = tuple(sorted(self._exclusions.functions()))
                return
            reason = problem
            self._leave_function(deferral.function, reason, now_us)
        if not self._exclusions.is_news(task_id, reason):
            self._exclusions.add_task(task_id, reason, now_us)
            return
        # Written first: what can't be written now is news again when the store answers.
        self._store.edit(
            [task_id], lambda task: Edit(replace(task, problem=reason)), self._ids.at(now_us)
        )
        self._exclusions.add_task(task_id, reason, now_us)
        logger.error(
            "task can't be executed here: %s (%s)", task_id, reason, extra={"task_id": task_id}
        )
        self._announcer.emit(
            TaskUnplannable, task_id=task_id, store=self._announcer.store, reason=reason
        )
