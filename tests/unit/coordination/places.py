"""A store of locks whose steps fail or stand still, and processes that share it."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from tickwork.coordination import Hold, Place
from tickwork.coordination.lock import BaseLock
from tickwork.errors import LockLostError, SchedulerStateError, StoreUnavailableError
from tickwork.interfaces import Clock, StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.scheduler.clock import SystemClock
from tickwork.stores.memory import MemoryStore
from tickwork.testing import Fault, ManualClock
from tickwork.wiring import load_trigger

__all__ = [
    "DEADLINE_S",
    "LocksStore",
    "Process",
    "Site",
    "at_once",
    "becoming",
    "in_thread",
    "losing",
    "pass_until",
    "until",
]

DEADLINE_S = 20.0

Answer = TypeVar("Answer")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that another thread does at once."""
    end = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        pause.wait(0.001)


def pass_until(clock: ManualClock, condition: Callable[[], object], *, seconds: float) -> None:
    """Let time pass, bit by bit, until a thread that waits for it has come to something."""
    end = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "time goes by, and nothing happens"
        clock.advance(seconds=seconds)
        pause.wait(0.001)


async def becoming(condition: Callable[[], object]) -> None:
    """Wait for something that a thread does at once, or another task; the test has a deadline."""
    while not condition():  # noqa: ASYNC110  as above
        await asyncio.sleep(0.001)  # noqa: TID251  it happens in a thread


@contextmanager
def losing(lock: BaseLock, said: str) -> Iterator[Hold]:
    """Hold a lock that is lost inside of the block, which is told at its end."""
    with pytest.raises(LockLostError, match=said), lock as hold:
        yield hold


class LocksStore(MemoryStore):
    """A memory store that notes which locks it is asked for.

    `faults` are what its next steps meet, by "acquire" and "renew"; `during` is called within each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[str] = []
        self.faults: dict[str, deque[Fault | None]] = {"acquire": deque(), "renew": deque()}
        self.down = False
        self.failed = 0
        self.during: Callable[[str, str], object] = lambda *_: None

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        self.wanted.append(request.name)
        acquire = super().acquire_lock
        return self._step("acquire", request.name, lambda: acquire(request))

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        renew = super().renew_lock
        return self._step("renew", name, lambda: renew(name, owner, lease_us, kept_us))

    def _step(self, step: str, name: str, work: Callable[[], Answer]) -> Answer:
        fault = self.faults[step].popleft() if self.faults[step] else None
        if fault is Fault.BEFORE or self.down:
            self.failed += 1
            raise StoreUnavailableError("down, as a test asked for")
        answer = work()
        self.during(step, name)
        if fault is Fault.AFTER:
            raise StoreUnavailableError("its answer was lost, as a test asked for")
        return answer


class Process:
    """What a scheduler is for locks: a home, which may be connected or not."""

    def __init__(self, place: Place) -> None:
        self.at = place
        self.connected = True

    def locks_at(self, store: str) -> Place:
        if not self.connected:
            raise SchedulerStateError("not connected, as a test asked for")
        return self.at


class Site:
    """A store, its clock, and the processes around it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = LocksStore()
        self.store.open(StoreEnvironment(DefinitionCodec(load_trigger), clock.now_us, True))

    def process(self) -> Process:
        """Return another process."""
        simulated = isinstance(self.clock, ManualClock)
        return Process(Place(self.store, self.clock, self.clock.now_us, simulated=simulated))

    @property
    def names(self) -> list[str]:
        """The locks that are held or kept."""
        return [lock.name for lock in self.store.locks()]

    def lock(self, name: str) -> LockRecord:
        """Return a lock as the store has it."""
        [found] = [lock for lock in self.store.locks() if lock.name == name]
        return found

    @classmethod
    def real(cls) -> "Site":
        """Return one whose time is real."""
        return cls(SystemClock())


@contextmanager
def in_thread(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Call something in a thread; at the end of the block it has to end too, by itself."""
    results: list[Any] = []

    def guarded() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  for the test to look at
            results.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield results
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "it waits for ever"


def at_once(works: list[Callable[[], Any]]) -> None:
    """Call things in a thread each, at the same time, and raise what any of them raised."""
    barrier = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            barrier.wait(DEADLINE_S)
            work()
        except BaseException as error:  # noqa: BLE001  told in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "it waits for ever"
    if errors:
        raise errors[0]
