"""A started scheduler: its loops, their threads, and the executors they share."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import uuid4

from tickwork.errors import StoreError
from tickwork.interfaces import (
    Cancelling,
    Clock,
    Executor,
    ExecutorEnvironment,
    Store,
    Watching,
)
from tickwork.model.instants import NEVER_US, SECOND
from tickwork.model.jobs import Job
from tickwork.model.records import NodeRecord
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.awaiting import Awaited
from tickwork.scheduler.held import Held
from tickwork.scheduler.ids import RunIds
from tickwork.scheduler.listeners import Listeners
from tickwork.scheduler.loop import LoopSettings, StoreLoop
from tickwork.scheduler.outcomes import dispatcher
from tickwork.scheduler.registry import FunctionRegistry
from tickwork.scheduler.sharing import Shares
from tickwork.scheduler.store_clock import StoreClock
from tickwork.scheduler.taking import DENSE_US
from tickwork.version import __version__

if TYPE_CHECKING:
    from tickwork.coordination import Home
    from tickwork.scheduler.elections import Elections
    from tickwork.scheduler.turns import Turn

__all__ = ["Runtime", "StopReport"]

logger = logging.getLogger("tickwork.scheduler")

_TURN_S = 0.005

_LOOK_S = 0.1
"""How long a stop waits before it looks whether it has been told to hurry."""


class StopReport(NamedTuple):
    """What a stop left, as ids of runs.

    Those given back to the store (or ended as lost, where their delivery says so), and those in
    threads, which can't be ended and go on until their function returns.
    """

    given_back: tuple[str, ...] = ()
    still_running: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything had come to its end."""
        return not (self.given_back or self.still_running)


class Runtime:
    """What exists between a start and a stop."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        executors: Mapping[str, Executor],
        *,
        clock: Clock,
        clocks: Mapping[str, StoreClock],
        registry: FunctionRegistry,
        listeners: Listeners,
        settings: LoopSettings,
        loop: asyncio.AbstractEventLoop | None,
        ids: RunIds,
        awaited: Awaited,
        home: Home,
        elections: Elections,
        turns: Mapping[str, Turn],
    ) -> None:
        self._executors = executors
        self._turns = turns
        self._clock = clock
        self._settings = settings
        self._stopping = threading.Event()
        self._rests: list[threading.Event] = []
        self._hurried = threading.Event()
        self._threads: list[threading.Thread] = []
        self.event_loop = loop
        shares = Shares(executors, settings.max_runs)
        environment = ExecutorEnvironment(
            clock.now_us, dispatcher(shares.freed), loop, settings.log_level
        )
        for executor in executors.values():
            executor.open(environment)
        self.loops = {
            name: StoreLoop(
                store,
                clock=clocks[name],
                shares=shares,
                registry=registry,
                announcer=Announcer(name, listeners, awaited, clocks[name].now_us),
                settings=settings,
                new_node=self._node,
                ids=ids,
                home=home,
                elections=elections,
                turn=turns.get(name),
            )
            for name, store in stores.items()
        }

    def _node(self) -> NodeRecord:
        return NodeRecord(
            id=uuid4().hex[:12],
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_us=self._clock.now_us(),
            executors=tuple(sorted(self._executors)),
        )

    def start(self, *, active: bool) -> None:
        """Begin to tick and to beat, each in threads of their own."""
        for turn in self._turns.values():
            # That its file can't be opened is better told now than in a log.
            turn.open(active=active)
        for name, loop in self.loops.items():
            loop.active = active
            if self._settings.threaded:
                if isinstance(loop.store, Watching):
                    loop.store.watch(loop.wake.set)
                self._begin(f"tickwork-loop-{name}", self._tick_on, loop)
                self._begin(f"tickwork-beat-{name}", self._beat_on, loop)

    def _begin(self, name: str, target: Callable[[StoreLoop], None], loop: StoreLoop) -> None:
        thread = threading.Thread(target=target, args=(loop,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _tick_on(self, loop: StoreLoop) -> None:
        while not self._stopping.is_set():
            loop.wake.clear()
            next_us = loop.tick()
            if loop.holding.rests:
                # Real time: a clock that a test moves might stand still.
                loop.wake.wait(DENSE_US / SECOND)
            elif next_us is None or next_us > loop.clock.now_us():
                loop.looks_again_us = NEVER_US if next_us is None else next_us
                loop.clock.wait(next_us, loop.wake)
                loop.looks_again_us = NEVER_US

    def _beat_on(self, loop: StoreLoop) -> None:
        # Of its own, and not `_stopping`: a clock that is moved by hand sets what it wakes.
        rest = threading.Event()
        self._rests.append(rest)
        next_us = self._clock.now_us() + self._settings.beat_us
        while not self._stopping.is_set():
            if self._clock.now_us() < next_us:
                self._clock.wait(next_us, rest)
                rest.clear()
                continue
            next_us = self._clock.now_us() + self._settings.beat_us
            try:
                loop.beat()
            except StoreError as error:
                logger.warning("beat failed: %s", error, extra={"node": loop.node_id})
            except Exception:
                # The one broad except of this thread: whatever it is, the next beat comes.
                logger.exception("beat failed; going on", extra={"node": loop.node_id})

    def set_active(self, *, active: bool) -> None:
        """Let the loops plan and lease, or not."""
        for loop in self.loops.values():
            loop.active = active
            loop.wake.set()

    def hurry(self) -> None:
        """Let a stop that goes on wait no longer; from any thread."""
        self._hurried.set()

    @property
    def hurried(self) -> bool:
        """Whether a stop should wait for nothing."""
        return self._hurried.is_set()

    def _left_s(self, until: float) -> float:
        return 0.0 if self.hurried else max(0.0, until - time.monotonic())

    def drain(self, until: float) -> bool:
        """Take no new work and wait, until a `time.monotonic()`, for what is under way."""
        for loop in self.loops.values():
            loop.draining = True
            loop.wake.set()
        quiet = [self._wait_quiet(loop, until) for loop in self.loops.values()]
        return all(quiet)

    def await_runs(self, runs: Mapping[str, Collection[str]], until: float) -> None:
        """Wait, until a `time.monotonic()`, for some runs, by store, of draining loops to end."""
        turn = threading.Event()
        for name, run_ids in runs.items():
            loop = self.loops[name]
            while loop.has_any(run_ids) and self._left_s(until):
                if not self._settings.threaded:
                    loop.tick()
                turn.wait(_TURN_S)

    def _wait_quiet(self, loop: StoreLoop, until: float) -> bool:
        while not loop.quiet.is_set():
            if not self._settings.threaded:
                loop.wake.clear()
                loop.tick()
            left_s = self._left_s(until)
            if loop.quiet.is_set() or not left_s:
                break
            signal = loop.quiet if self._settings.threaded else loop.wake
            signal.wait(min(left_s, _LOOK_S))
        return loop.quiet.is_set()

    def stop(self, until: float) -> StopReport:
        """End everything; what isn't done by then is given back."""
        self._stopping.set()
        for woken in [loop.wake for loop in self.loops.values()] + self._rests:
            woken.set()
        current = threading.current_thread()
        for thread in self._threads:
            if thread is not current:
                thread.join(max(1.0, self._left_s(until)))
        unstarted: list[Job] = []
        ended: list[Job] = []
        for executor in self._executors.values():
            left = executor.stop(self._left_s(until))
            unstarted += left.unstarted
            if isinstance(executor, Cancelling) and executor.ends_running:
                ended += left.running
        return self._leave(unstarted, ended)

    def _leave(self, unstarted: list[Job], ended: list[Job]) -> StopReport:
        running: list[str] = []
        for loop in self.loops.values():
            try:
                running += loop.give_up(
                    [job for job in unstarted if _is_of(job, loop)],
                    [job for job in ended if _is_of(job, loop)],
                )
                loop.give_locks_back(running)
                loop.leave()
            except StoreError as error:
                # Others will find the leases over, and take the runs over.
                logger.warning("could not sign off: %s", error, extra={"node": loop.node_id})
        for turn in self._turns.values():
            turn.give_back()
        report = StopReport(tuple(job.run_id for job in (*unstarted, *ended)), tuple(running))
        if not report.clean:
            logger.warning(
                "stopped in the middle of work: %d runs given back, %d still running in threads",
                len(report.given_back),
                len(report.still_running),
            )
        return report

    def in_flight(self) -> int:
        """Return how many runs are leased here and not written back."""
        return sum(len(loop.in_flight()) for loop in self.loops.values())


def _is_of(job: Job, loop: StoreLoop) -> bool:
    return cast("Held", job).holding is loop.holding


DRAINED_WITHIN_S = 30.0
"""How long a stop waits for what is under way, unless told otherwise."""
