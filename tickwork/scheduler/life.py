"""The life of a scheduler: new, connected, started, stopped, and started again."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from tickwork.errors import SchedulerStateError, TickworkError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.events import (
    SchedulerPaused,
    SchedulerResumed,
    SchedulerStarted,
    SchedulerStopped,
    TaskUndeclared,
)
from tickwork.model.policies import ScheduleState, Source
from tickwork.model.steps import TaskQuery
from tickwork.scheduler.clock import SystemClock
from tickwork.scheduler.core import SchedulerCore
from tickwork.scheduler.facade import calling_loop, running_loop
from tickwork.scheduler.processes import refuse_pool_child
from tickwork.scheduler.runtime import DRAINED_WITHIN_S, Runtime, StopReport

if TYPE_CHECKING:
    from tickwork.interfaces import Store

__all__ = ["SchedulerLife"]

_LISTED = 1_000
_CLEAN_UP_S = 1.0


class SchedulerLife(SchedulerCore):
    """Connects to its stores, starts, pauses, stops."""

    # --- connecting ---------------------------------------------------------------------------

    def connect(self, *, create: bool = True) -> Self:
        """Open the stores and write what was declared, without firing anything.

        A connected scheduler is a client: it adds, changes and lists tasks that others execute.
        As a context manager it closes the stores at the end. Without `create`, it makes no schema,
        file or folder.

        Raises:
            NotFoundError: without `create`, no scheduler has used a store yet.
            StoreUnavailableError: a store can't be opened.
        """
        with self._lock:
            self._stay_in_process()
            if not self._book.connected:
                self._open(existing=not create)
            return self

    def _open(self, *, existing: bool) -> None:
        # A clock that was injected stands in for all clocks.
        simulated = not isinstance(self._clock, SystemClock)
        environment = StoreEnvironment(self._codec, self._clock.now_us, simulated, existing)
        opened: list[Store] = []
        try:
            for store in self._stores.values():
                store.open(environment)
                opened.append(store)
            self._book.write_pending()
            self._awaited.watch()
            for store_name, task_id in self._book.undeclared:
                self._tell(TaskUndeclared, store=store_name, task_id=task_id)
        except BaseException:
            for store in opened:
                store.close()
            raise

    def close(self) -> None:
        """Close the stores of a connected scheduler; it may be connected again."""
        with self._lock:
            if self._runtime is not None:
                raise SchedulerStateError("the scheduler is started; stop() closes its stores")
            if self._book.connected:
                self._book.connected = False
                self._awaited.disturb()
                for store in self._stores.values():
                    store.close()

    # --- starting and stopping ----------------------------------------------------------------

    def start(self, paused: bool = False) -> Self:  # noqa: FBT001, FBT002  a field's known spelling
        """Begin to fire, in threads of its own.

        Called where an event loop runs, coroutine functions run on that loop; otherwise on one
        that the scheduler owns. With `paused` nothing fires until `resume`.

        Raises:
            SchedulerStateError: it is started already, or this is a child of a process pool.
            StoreUnavailableError: a store can't be opened.
        """
        return self._start(running_loop() or calling_loop.get(), paused=paused)

    def _start(self, loop: asyncio.AbstractEventLoop | None, *, paused: bool) -> Self:
        refuse_pool_child()
        with self._lock:
            self._stay_in_process()
            if self._runtime is not None:
                raise SchedulerStateError("the scheduler is started already")
            was_connected = self._book.connected
            self.connect()
            self._paused = paused
            self._listeners.loop = loop
            self._runtime = Runtime(
                self._stores,
                self._executors,
                clock=self._clock,
                clocks=self._clocks,
                registry=self._registry,
                listeners=self._listeners,
                settings=self._settings,
                loop=loop,
                ids=self._book.ids,
                awaited=self._awaited,
                home=self,
                elections=self._elections,
                turns=self._turns,
            )
            try:
                self._starting()
                self._elections.start()
                self._runtime.start(active=not paused)
            except BaseException:
                runtime, self._runtime = self._runtime, None
                runtime.stop(time.monotonic())
                self._elections.stop()
                self._paused = False
                if not was_connected:
                    self.close()
                raise
            self._tell(SchedulerStarted)
            self._ran_at_start = frozenset()
            self._run_at_start(self._book.run_on_startup)
            self._started()
            return self

    @abstractmethod
    def _starting(self) -> None:
        """Be told that it will start in a moment, if nothing goes wrong."""

    @abstractmethod
    def _started(self) -> None:
        """Be told that it has started."""

    @abstractmethod
    def _stopping(self) -> None:
        """Be told that it will take no new work."""

    @abstractmethod
    def _stopped(self) -> None:
        """Be told that nothing of it goes on any more, but what can't be ended."""

    def _run_at_start(self, task_ids: Mapping[str, Iterable[str]]) -> None:
        """Have tasks run, by store, that are to run at the start of who declares them.

        A store that fails now, after it could be opened, costs their runs and not the start.
        """
        for store, ids in list(task_ids.items()):
            self._ran_at_start |= {(store, task_id) for task_id in ids}
            try:
                self._book.run_at_start(store, list(ids))
            except TickworkError as error:
                self._listeners.failed("running tasks at the start", error)

    def stop(self, wait: bool = True, timeout: float = DRAINED_WITHIN_S) -> StopReport:  # noqa: FBT001, FBT002  a field's known spelling
        """Stop firing, run the tasks of the shutdown trigger, and close the stores.

        With `wait`, what is under way has `timeout` seconds to end. What hasn't ended then is
        reported: coroutines and processes are ended and their runs given back to the store, threads
        go on and are taken over by others once their lease is over. Without `wait`, a stop that
        another thread waits for doesn't wait any longer either.

        Raises:
            SchedulerStateError: called on the event loop that executes runs, which could then never
                end; use `await scheduler.aio.stop()`, or `wait=False`.
        """
        self._stay_in_process()
        runtime = self._runtime
        if runtime is None:
            self.close()
            return StopReport()
        if threading.current_thread().name.startswith("tickwork-"):
            raise SchedulerStateError(
                "stop() was called by something that the scheduler itself runs, and would wait for "
                "its own end; tell the main program to stop it, for example by an event"
            )
        if wait and _on_loop(runtime.event_loop):
            raise SchedulerStateError(
                "stop() would block the event loop that executes the runs it waits for; use "
                "`await scheduler.aio.stop()`, `async with scheduler`, or stop(wait=False)"
            )
        if not wait:
            runtime.hurry()
        with self._lock:
            if self._runtime is None:
                return StopReport()
            until = time.monotonic() + (timeout if wait else 0.0)
            self._stopping()
            runtime.drain(until)
            if not runtime.hurried:
                self._run_shutdown_tasks(runtime, until)
            report = runtime.stop(until)
            self._elections.stop()
            self._runtime = None
            self._paused = False
            self._stopped()
            self._tell(SchedulerStopped)
            if not runtime.hurried:
                self._listeners.flush()
            self.close()
            return report

    def shutdown(self, wait: bool = True, timeout: float = DRAINED_WITHIN_S) -> StopReport:  # noqa: FBT001, FBT002  a field's known spelling
        """Do `stop`, by its other name."""
        return self.stop(wait, timeout)

    def _run_shutdown_tasks(self, runtime: Runtime, until: float) -> None:
        started: dict[str, list[str]] = {}
        query = TaskQuery(trigger="shutdown", state=ScheduleState.SCHEDULED, limit=_LISTED)
        for name, loop in runtime.loops.items():
            try:
                ids = [task.id for task in self._book.find(name, query)]
                runs = self._book.run_all(name, ids, Source.SHUTDOWN) if ids else []
            except TickworkError as error:
                # A store that fails now must not keep the others from stopping cleanly.
                self._listeners.failed("shutdown tasks", error)
                continue
            if runs:
                started[name] = [run.id for run in runs]
                loop.execute_only(started[name])
        # Clean-up gets its moment even where other work has used up the time.
        runtime.await_runs(started, max(until, time.monotonic() + _CLEAN_UP_S))
        self._cancel_unstarted(started)

    def _cancel_unstarted(self, started: Mapping[str, Sequence[str]]) -> None:
        """End what was to run at this stop and didn't: at the next start it would be out of place.

        What has started by now is left to the loops.
        """
        for name, run_ids in started.items():
            try:
                self._book.cancel_pending(
                    name, run_ids, "its scheduler had stopped before it began"
                )
            except TickworkError as error:
                self._listeners.failed("cancelling shutdown tasks", error)

    def pause(self) -> None:
        """Stop planning and starting in this scheduler; what is under way goes on."""
        self._set_paused(paused=True)

    def resume(self) -> None:
        """Go on; what became due meanwhile is planned by each task's policies."""
        self._set_paused(paused=False)

    def _set_paused(self, *, paused: bool) -> None:
        runtime = self._runtime
        if runtime is None:
            raise SchedulerStateError(
                "the scheduler isn't started; to begin paused, use start(paused=True)"
            )
        if self._paused is not paused:
            self._paused = paused
            runtime.set_active(active=not paused)
            self._tell(SchedulerPaused if paused else SchedulerResumed)


def _on_loop(loop: asyncio.AbstractEventLoop | None) -> bool:
    return loop is not None and running_loop() is loop
