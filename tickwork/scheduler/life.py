"""The life of a scheduler: new, connected, started, stopped, and started again."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload
from uuid import uuid4

from tickwork.coordination.place import Place
from tickwork.errors import (
    InvalidInputError,
    SchedulerStateError,
    TaskConfigurationError,
    TickworkError,
)
from tickwork.interfaces import Locking, StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.model.events import (
    Event,
    SchedulerPaused,
    SchedulerResumed,
    SchedulerStarted,
    SchedulerStopped,
    TaskUndeclared,
)
from tickwork.model.instants import from_us
from tickwork.model.policies import ScheduleState, Source
from tickwork.model.signing import Signer
from tickwork.model.steps import TaskQuery
from tickwork.scheduler.awaiting import Awaited
from tickwork.scheduler.book import Book
from tickwork.scheduler.clock import SystemClock
from tickwork.scheduler.declaring import Declarer, checked_defaults
from tickwork.scheduler.elections import Elections
from tickwork.scheduler.facade import AsyncFacade, calling_loop
from tickwork.scheduler.listeners import Listeners
from tickwork.scheduler.loop import LoopSettings
from tickwork.scheduler.offloading import begun, ended
from tickwork.scheduler.processes import refuse_pool_child
from tickwork.scheduler.registry import FunctionRegistry
from tickwork.scheduler.runtime import DRAINED_WITHIN_S, Runtime, StopReport
from tickwork.scheduler.store_clock import StoreClock
from tickwork.scheduler.turns import turns
from tickwork.wiring import build_executor, build_store, load_trigger, read_zone

if TYPE_CHECKING:
    from datetime import tzinfo

    from tickwork.coordination import FileLockProtected, LeaderElection
    from tickwork.interfaces import Clock, Executor, Store
    from tickwork.scheduler.config import SchedulerConfig
    from tickwork.scheduler.lifecycle import Lifecycle, SharedLock
    from tickwork.scheduler.router import TaskRouter

__all__ = ["SchedulerLife"]

_EXECUTORS = ("asyncio", "threadpool", "processpool")
_LOCAL = "local"
_LISTED = 1_000
_CLEAN_UP_S = 1.0

E = TypeVar("E", bound=Event)
L = TypeVar("L", bound=Callable[..., Any])


class SchedulerLife(ABC):
    """What a scheduler is made of, and its states."""

    def __init__(
        self,
        store: str | Mapping[str, Any] | Store | None = None,
        *,
        stores: Mapping[str, Any] | None = None,
        executors: Mapping[str, Any] | None = None,
        task_defaults: Mapping[str, Any] | None = None,
        timezone: str | tzinfo = "UTC",
        signing_keys: Mapping[str, str | bytes] | None = None,
        lock_path: str | os.PathLike[str] | None = None,
        config: SchedulerConfig | None = None,
        clock: Clock | None = None,
        settings: LoopSettings | None = None,
    ) -> None:
        self._stores = _build_stores(store, stores)
        self._executors = _build_executors(executors or {})
        zone = read_zone(timezone)
        if zone is None:
            raise InvalidInputError("timezone=None: name one, such as 'UTC' or 'Europe/Berlin'")
        self._clock = clock or SystemClock()
        settings = settings or LoopSettings()
        self._settings = settings if config is None else config.applied(settings)
        self._registry = FunctionRegistry()
        self._listeners = Listeners()
        signer = None if signing_keys is None else Signer(signing_keys)
        self._codec = DefinitionCodec(load_trigger, signer)
        self._clocks = {
            name: StoreClock(self._clock, each, name) for name, each in self._stores.items()
        }
        self._book = Book(self._stores, self._clocks, self._codec, uuid4().hex)
        self._declarer = Declarer(
            self._registry,
            zone,
            {name: each.persistent for name, each in self._stores.items()},
            {name: each.kind for name, each in self._executors.items()},
            self._book.new_id,
            checked_defaults(task_defaults or {}),
        )
        self._runtime: Runtime | None = None
        self._awaited = self._new_awaited()
        self._ran_at_start: frozenset[tuple[str, str]] = frozenset()
        self._places: dict[str, Place] = {}
        # Processes that share a store know of each other without a turn.
        alone = [name for name, each in self._stores.items() if not each.persistent]
        self._turns = turns(lock_path, [name for name in alone if name != _LOCAL])
        self._entered = 0
        self._routers: list[TaskRouter] = []
        self._routed: set[str] = set()
        self._lifecycles: dict[str, Lifecycle] = {}
        self._shared_locks: dict[FileLockProtected, SharedLock] = {}
        self._elections = Elections(threaded=self._settings.threaded)
        self._paused = False
        self._lock = threading.RLock()
        self._pid = os.getpid()

    @abstractmethod
    def _new_awaited(self) -> Awaited:
        """Return what tells of the ends of runs."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state}, stores: {', '.join(self._stores)}>"

    @property
    def state(self) -> str:
        """`new`, `connected`, `started` or `paused`."""
        self._stay_in_process()
        if self._runtime is not None:
            return "paused" if self._paused else "started"
        return "connected" if self._book.connected else "new"

    @property
    def aio(self) -> Any:
        """The same methods, awaitable, run off the event loop."""
        return AsyncFacade(self)

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
        return self._start(_running_loop() or calling_loop.get(), paused=paused)

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

    # --- with, and async with -----------------------------------------------------------------

    def __enter__(self) -> Self:
        if not self._book.connected and _running_loop() is not None:
            raise SchedulerStateError(
                "`with scheduler` would block the running event loop at its end; "
                "use `async with scheduler`"
            )
        return self._enter(calling_loop.get())

    def __exit__(self, *_: object) -> None:
        self._leave()

    async def __aenter__(self) -> Self:
        entering = begun(self._enter, asyncio.get_running_loop())
        cancelled = await ended(entering)
        if cancelled is None:
            return entering.result()
        if entering.exception() is None:
            await self.__aexit__()
        raise cancelled

    async def __aexit__(self, *_: object) -> None:
        hurried = threading.Event()
        leaving = begun(self._leave, hurried)
        cancelled = await ended(leaving, partial(self._hurry, hurried))
        leaving.result()
        if cancelled is not None:
            raise cancelled

    def _hurry(self, hurried: threading.Event) -> None:
        """Have a stop that has begun, or is about to, wait for nothing."""
        hurried.set()
        runtime = self._runtime
        if not self._entered and runtime is not None:
            runtime.hurry()

    def _enter(self, loop: asyncio.AbstractEventLoop | None) -> Self:
        """Start, unless it is started or connected already: the last one to leave stops it."""
        with self._lock:
            self._stay_in_process()
            if not self._book.connected:
                self._start(loop, paused=False)
            self._entered += 1
        return self

    def _leave(self, hurried: threading.Event | None = None) -> None:
        # Stopped under the lock: whoever enters meanwhile is to start it anew.
        with self._lock:
            self._entered = max(0, self._entered - 1)
            if not self._entered:
                if hurried is not None and hurried.is_set():
                    self._hurry(hurried)
                self.stop()

    # --- locks --------------------------------------------------------------------------------

    def elect(self, leader: LeaderElection) -> None:
        """Stand for an election while the scheduler is started.

        Tasks with a `leader` do that by themselves; this is for one that only other code asks.
        """
        leader.belong_to(self)
        self._elections.add(leader)

    def locks_at(self, store: str = "default") -> Place:
        """Return where locks of a store are kept, for those of `tickwork.coordination`.

        Raises:
            SchedulerStateError: the scheduler isn't connected.
            TaskConfigurationError: there is no such store, or it keeps no locks.
        """
        self._stay_in_process()
        if not self._book.connected:
            raise SchedulerStateError(
                "locks are kept in the scheduler's store, and it isn't connected: start() it, or "
                "connect() it to use locks without firing"
            )
        place = self._places.get(store)
        if place is None:
            place = self._places[store] = self._new_place(store)
        return place

    def _new_place(self, store: str) -> Place:
        if store not in self._stores:
            raise TaskConfigurationError(
                f"there is no store {store!r}; this scheduler has {', '.join(sorted(self._stores))}"
            )
        kept = self._stores[store]
        if not isinstance(kept, Locking):
            raise TaskConfigurationError(f"the store {store!r} keeps no locks; use another one")
        simulated = not isinstance(self._clock, SystemClock)
        return Place(kept, self._clock, partial(self._book.now_us, store), simulated=simulated)

    # --- telling ------------------------------------------------------------------------------

    @overload
    def on(self, event: type[E]) -> Callable[[L], L]: ...

    @overload
    def on(self, event: type[E], callback: Callable[[E], Any]) -> Callable[[E], Any]: ...

    def on(self, event: type[Any], callback: Callable[..., Any] | None = None) -> Any:
        """Tell a function or coroutine function of each event of a class; also a decorator.

        Listeners are called one after the other in a thread of their own; coroutines run on the
        event loop on which the scheduler was started.
        """
        if callback is None:
            return partial(self._listen, event)
        return self._listen(event, callback)

    def _listen(self, event: type[Event], callback: L) -> L:
        self._listeners.add(event, callback)
        return callback

    def off(self, event: type[Event], callback: Callable[[Any], Any]) -> None:
        """Stop telling a listener."""
        self._listeners.remove(event, callback)

    def _tell(self, kind: type[Event], **details: Any) -> None:
        if self._listeners.wants(kind):
            self._listeners.tell(kind(at=from_us(self._clock.now_us()), **details))

    # --- processes ----------------------------------------------------------------------------

    def _stay_in_process(self) -> None:
        """Begin anew in a forked child: threads, connections and leases stayed behind."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._runtime = None
        self._listeners.forsake()
        self._awaited.forsake()
        self._elections.forsake()
        for turn in self._turns.values():
            turn.forsake()
        for made in self._lifecycles.values():
            made.forsake()
        self._entered = 0
        self._book.connected = False
        for part in (*self._stores.values(), *self._executors.values(), self._registry):
            forsake = getattr(part, "forsake", None)
            if forsake is not None:
                forsake()

    @contextmanager
    def _connected(self) -> Iterator[Book]:
        self._stay_in_process()
        if not self._book.connected:
            raise SchedulerStateError(
                "the scheduler isn't connected to its stores: start() it, or connect() it to look "
                "and change without firing"
            )
        yield self._book


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _on_loop(loop: asyncio.AbstractEventLoop | None) -> bool:
    return loop is not None and _running_loop() is loop


def _build_stores(store: object, stores: Mapping[str, Any] | None) -> dict[str, Store]:
    if store is not None and stores is not None:
        raise InvalidInputError("give one store, or stores={...} with a 'default', not both")
    named = dict(stores) if stores is not None else {"default": store}
    if stores is None and store is None:
        named = {"default": "memory://"}
    if "default" not in named:
        raise InvalidInputError(
            f"stores={{...}} needs a 'default', it has {', '.join(named) or 'nothing'}"
        )
    built = {name: build_store(each) for name, each in named.items()}
    if _LOCAL in built and built[_LOCAL].persistent:
        raise InvalidInputError(
            "the store 'local' is for tasks of scope 'node' and lives in this process; "
            "choose another name"
        )
    built.setdefault(_LOCAL, build_store("memory://"))
    return built


def _build_executors(executors: Mapping[str, Any]) -> dict[str, Executor]:
    built = {name: build_executor(each) for name, each in executors.items()}
    for name in _EXECUTORS:
        if name not in built:
            built[name] = build_executor(name)
    return built
