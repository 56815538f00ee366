"""From leased to started: what is leased is made ready, let through its gate, handed over.

What must not start without being written down first is marked when it has a place to start at, so
that a run which waits for a place isn't taken for one that has begun.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tickwork.interfaces import Reader, Store
from tickwork.model.definition import Definition
from tickwork.model.instants import SECOND
from tickwork.model.policies import RunState
from tickwork.model.provided import asks_for_ids, provided
from tickwork.model.records import Leased, RunRecord
from tickwork.model.steps import TASK_REMOVED
from tickwork.model.values import decode_arguments
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.ending import Endings
from tickwork.scheduler.gatekeeping import Gatekeeper
from tickwork.scheduler.guard import guarded
from tickwork.scheduler.held import Held
from tickwork.scheduler.holding import Holding
from tickwork.scheduler.registry import FunctionRegistry
from tickwork.scheduler.sharing import Share

__all__ = ["FULL_US", "Starter"]

logger = logging.getLogger("tickwork.loop")

FULL_US = SECOND // 10
"""When to ask again for a place, if nobody said before that one is free."""

_REFUSED_US = 30 * SECOND
"""After which time a run is offered again that an executor refused to take."""


class _Callee(NamedTuple):
    """What the runs of a definition call, None where it can't be had; whether it asks for ids."""

    definition: Definition
    target: Callable[..., Any] | None
    asks: bool

    def is_that_of(self, other: Definition) -> bool:
        """Whether another definition names the same function."""
        mine = self.definition
        return mine is other or (mine.target is other.target and mine.function == other.function)


class Starter:
    """Starts the runs of one loop. `again` says that there is more to do at once.

    `leave_function` is told of a function that can't be had, why, and when that was found out.
    """

    def __init__(
        self,
        store: Store,
        executors: Mapping[str, Share],
        holding: Holding,
        *,
        endings: Endings,
        gates: Gatekeeper,
        registry: FunctionRegistry,
        announcer: Announcer,
        leave_function: Callable[[str, str, int], None],
        threaded: bool,
    ) -> None:
        self.again = False
        self._store = store
        self._executors = executors
        self._holding = holding
        self._endings = endings
        self._gates = gates
        self._registry = registry
        self._announcer = announcer
        self._leave_function = leave_function
        self._threaded = threaded
        self._let_through: deque[Held] = deque()
        self._awaiting_mark: dict[str, deque[Held]] = {name: deque() for name in executors}

    def hand_over(self, leased: Sequence[Leased], reserved: dict[str, int], now_us: int) -> None:
        """Start what was leased, at places that are reserved; take those off."""
        if not leased:
            return
        ready: dict[str, list[Held]] = {name: [] for name in reserved}
        tells = self._announcer.wants_starts()
        callee: _Callee | None = None
        for run, definition in leased:
            # What is leased together often calls one function, which is looked at once.
            if callee is None or not callee.is_that_of(definition):
                callee = self._callee(definition, now_us)
            held = self._received(run, definition, callee, now_us)
            if held is None:
                continue
            # Not its definition's: that may have been changed since the run was made.
            name = run.executor
            if definition.gate is not None:
                # What is reserved for it is given back: it may take long until it gets through.
                self._gates.enter(held)
                self.again |= not self._threaded
                continue
            reserved[name] -= 1
            if run.suspect or definition.marks_start:
                self._awaiting_mark[name].append(held)
            else:
                ready[name].append(held)
                if tells:
                    self._announcer.started(held)
        for name, jobs in ready.items():
            if jobs:
                self._start(name, jobs, now_us)

    def _callee(self, definition: Definition, now_us: int) -> _Callee:
        """Return what a definition calls; leave a function alone for a while that can't be had."""
        target = self._registry.target(definition)
        if target is None:
            problem = self._registry.resolve(definition.function)
            if problem is not None:
                self._leave_function(definition.function, problem, now_us)
                return _Callee(definition, None, asks=False)
            target = self._registry.known(definition.function)
        return _Callee(definition, target, asks_for_ids(target))

    def _received(
        self, run: RunRecord, definition: Definition, callee: _Callee, now_us: int
    ) -> Held | None:
        """Return a leased run ready to be started; None if it can't be, which is taken care of."""
        target = callee.target
        if target is None:
            self._holding.give_back(run.id, run.fence, run.due_us or now_us)
            self.again = True
            return None
        held = Held(self._holding, run, definition, target, now_us)
        if run.cancel_us is not None:
            held.why = "cancelled before it could start"
            self._holding.end_unstarted(held, now_us)
            self.again = True
            return None
        if definition.payload:
            decoded = guarded(decode_arguments, definition.payload, target)
            if decoded.value is None:
                self._holding.fail(held, decoded.error, now_us)
                self.again = True
                return None
            held.args, held.kwargs = decoded.value
        if callee.asks:
            ids = {"task_id": run.task_id, "run_id": run.id}
            held.kwargs = provided(target, held.args, held.kwargs, **ids)
        self._holding.take(held)
        self._endings.watch(held, now_us)
        return held

    def start_marked(self, now_us: int) -> None:
        """Start what must not start without being written down first, as far as it starts now."""
        for name, waiting in self._awaiting_mark.items():
            executor = self._executors[name]
            self._drop_ended(waiting, executor, now_us)
            count = min(executor.idle(), len(waiting)) if waiting else 0
            if not count:
                continue
            runs = [waiting[at] for at in range(count)]
            marked = self._holding.mark(runs, now_us)
            for _ in runs:
                waiting.popleft()
            executor.release(len(runs) - len(marked))
            for held in marked:
                self._announcer.started(held)
            self._start(name, marked, now_us)

    def _drop_ended(self, waiting: deque[Held], executor: Share, now_us: int) -> None:
        """End what was cancelled while it waited to be marked."""
        ended = [held for held in waiting if held.ending is not None or held.is_shut_out()]
        for held in ended:
            waiting.remove(held)
            self._holding.end_unstarted(held, now_us)
            self.again = True
        if ended:
            executor.release(len(ended))

    def let_waiting_go(self) -> list[Held]:
        """Take back what waits to be marked, and the places that are reserved for it."""
        gone = [held for waiting in self._awaiting_mark.values() for held in waiting]
        for name, waiting in self._awaiting_mark.items():
            self._executors[name].release(len(waiting))
            waiting.clear()
        return gone

    def _start(self, name: str, jobs: Sequence[Held], now_us: int) -> None:
        """Hand jobs to an executor; one that refuses to take them must not keep their runs."""
        error = guarded(self._executors[name].start, jobs).error
        if error is None:
            return
        logger.error("executor %s took no jobs: %s", name, error, exc_info=error)
        self.again = True
        for held in jobs:
            self._holding.give_back(held.run_id, held.fence, now_us + _REFUSED_US)

    # --- gates --------------------------------------------------------------------------------

    def keep_gates(self, now_us: int, *, draining: bool) -> int | None:
        """Start what was let through, as far as there are places, and skip what was refused.

        Return when there is more to do.
        """
        if draining:
            self._gates.drain()
        if self._holding.behind_gates:
            self._holding.behind_gates = False
            self._gates.look()
        self._gates.look_for_ends()
        next_us = None if self._threaded else self._gates.tick()
        for held, refusal in self._gates.decided():
            if refusal is None:
                self._let_through.append(held)
            elif self._holding.held.get(held.run_id) is held:
                self._skip(held, refusal, now_us)
        waiting, self._let_through = self._let_through, deque()
        for held in waiting:
            self._go_through(held, now_us)
        if self._let_through:
            return now_us + FULL_US
        return next_us

    def stop_gates(self, held_runs: Iterable[Held], still_running: Iterable[str]) -> None:
        """Give back what runs were let through for; some are still running."""
        running = frozenset(still_running)
        for held in held_runs:
            held.still_runs = held.run_id in running
        self._gates.stop()

    def _skip(self, held: Held, refusal: str, now_us: int) -> None:
        held.at_gate = False
        if held.ending is not None:
            self._holding.end_unstarted(held, now_us)
        else:
            self._holding.skip(held, refusal, now_us)
        self.again = True

    def _go_through(self, held: Held, now_us: int) -> None:
        name = held.run.executor
        if self._holding.held.get(held.run_id) is not held:
            return
        if self._is_task_gone(held):
            held.ending, held.why = RunState.CANCELLED, TASK_REMOVED
        if held.ending is not None or held.is_shut_out():
            self._skip(held, held.why, now_us)
            return
        if not self._executors[name].reserve(1):
            self._let_through.append(held)
            return
        held.at_gate = False
        if held.run.suspect or held.definition.marks_start:
            self._awaiting_mark[name].append(held)
        else:
            self._announcer.started(held)
            self._start(name, [held], now_us)

    def _is_task_gone(self, held: Held) -> bool:
        """Whether the task of a run was removed while it waited at its gate."""
        if held.run.definition is not None or not isinstance(self._store, Reader):
            return False
        task = self._store.get_task(held.task_id)
        return task is None or task.generation != held.run.generation
