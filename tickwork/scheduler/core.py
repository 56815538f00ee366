"""What a scheduler is made of, and what it does in any state of its life."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload
from uuid import uuid4

from tickwork.coordination.place import Place
from tickwork.errors import InvalidInputError, SchedulerStateError, TaskConfigurationError
from tickwork.interfaces import Locking
from tickwork.model.definition import DefinitionCodec
from tickwork.model.events import Event
from tickwork.model.instants import from_us
from tickwork.model.signing import Signer
from tickwork.scheduler.awaiting import Awaited
from tickwork.scheduler.book import Book
from tickwork.scheduler.clock import SystemClock
from tickwork.scheduler.declaring import Declarer, checked_defaults
from tickwork.scheduler.elections import Elections
from tickwork.scheduler.facade import AsyncFacade
from tickwork.scheduler.listeners import Listeners
from tickwork.scheduler.loop import LoopSettings
from tickwork.scheduler.registry import FunctionRegistry
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
    from tickwork.scheduler.runtime import Runtime

__all__ = ["SchedulerCore"]

_EXECUTORS = ("asyncio", "threadpool", "processpool")
_LOCAL = "local"

E = TypeVar("E", bound=Event)
L = TypeVar("L", bound=Callable[..., Any])


class SchedulerCore(ABC):
    """The parts of a scheduler: its stores, executors, tasks, listeners and locks."""

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
