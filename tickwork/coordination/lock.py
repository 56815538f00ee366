"""A lock for a resource: one holder at a time, among all processes that share a store.

While it is held, a thread renews its lease, so that a lock is held for as long as its holder lives,
and no longer than one lease after that. A holder that loses it (its process stood still, the store
was away for too long) is told: by `hold.lost`, by `on_lost`, and at the latest at the end of the
`with`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from tickwork.coordination.hold import Hold, attempt
from tickwork.coordination.place import Home, Place, Placed
from tickwork.coordination.waiting import finished, off_loop
from tickwork.errors import ConflictError, LockHeldError, LockLostError, StoreError
from tickwork.model.instants import SECOND, read_seconds
from tickwork.model.locks import LockRequest

__all__ = ["AsyncLock", "BaseLock", "Lock"]

logger = logging.getLogger("tickwork.coordination")

_AGAIN_US = SECOND // 1_000
"""How soon to ask a store again that doesn't answer."""


class BaseLock(Placed, ABC):
    """What locks have in common: who holds what, in threads as in coroutines."""

    waits: ClassVar[bool] = True
    """Whether `with` waits until it is free."""

    def __init__(
        self,
        name: str,
        *,
        scheduler: Home | None,
        store: str,
        retry_interval: float,
        on_lost: Callable[[Hold], object] | None,
    ) -> None:
        super().__init__(name, scheduler, store)
        self.retry_us = read_seconds("retry_interval", retry_interval)
        self._on_lost = on_lost
        self._holds: dict[object, Hold] = {}

    @abstractmethod
    def request(self, place: Place) -> LockRequest:
        """Return a request for one acquisition."""

    def _began(self, hold: Hold, place: Place) -> None:
        """Do what is to be done while it is held."""

    @property
    def hold(self) -> Hold | None:
        """What the calling thread, or asyncio task, holds of it."""
        return self._hold_of(_caller())

    @property
    def fence(self) -> int | None:
        """The fence of what the caller holds; None where it holds nothing."""
        hold = self.hold
        return None if hold is None else hold.fence

    def _hold_of(self, caller: object) -> Hold | None:
        hold = self._holds.get(caller)
        # Not one that was given back by itself, nor one of the parent of this process.
        return hold if hold is not None and hold.taken else None

    def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> Hold | None:
        """Take the lock; None where somebody else has it, for as long as it waits.

        Raises:
            ConflictError: the caller has it already.
            StoreUnavailableError: the store doesn't answer.
        """
        caller = self._free_caller()
        place = self.place
        until_us = _deadline(place, timeout)
        never = threading.Event()
        while True:
            hold = self._try(place, caller)
            now_us = place.now_us()
            if hold or not blocking or (until_us is not None and now_us >= until_us):
                return hold
            next_us = now_us + self.retry_us
            place.wait(next_us if until_us is None else min(next_us, until_us), never)
            never.clear()

    def release(self) -> None:
        """Give it back.

        Raises:
            ConflictError: the caller doesn't have it.
            LockLostError: it was lost before; another holder may be at work.
        """
        self._end(self._taken_from(_caller()))

    @property
    def aio(self) -> AsyncLock:
        """The same methods, awaitable, run off the event loop."""
        return AsyncLock(self)

    def _free_caller(self) -> object:
        caller = _caller()
        if self._hold_of(caller) is not None:
            raise ConflictError(f"{self!r} is held by its caller already; it can't be taken twice")
        return caller

    def _try(self, place: Place, caller: object) -> Hold | None:
        # Another request each time: what is asked for may depend on when.
        hold = attempt(place, self.request(place))
        if not isinstance(hold, Hold):
            return None
        try:
            self._began(hold, place)
        except BaseException:
            hold.release()
            raise
        self._holds[caller] = hold
        return hold

    def _taken_from(self, caller: object) -> Hold:
        hold = self._holds.pop(caller, None)
        if hold is None:
            raise ConflictError(f"{self!r} isn't held by its caller, who can't give it back")
        return hold

    def _end(self, hold: Hold) -> None:
        if not hold.release() and hold.lost:
            raise LockLostError(hold.told())

    def _leave(self, hold: Hold, error: BaseException | None) -> None:
        try:
            self._end(hold)
        except LockLostError:
            if error is None:
                raise
            # What went wrong inside says more.
            logger.warning("%s", hold.told())

    def _entered(self, hold: Hold | None) -> Hold:
        if hold is None:
            raise LockHeldError(f"{self!r} is held by somebody else, or kept")
        return hold

    def __enter__(self) -> Hold:
        return self._entered(self.acquire(blocking=self.waits))

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._leave(self._taken_from(_caller()), error)

    async def __aenter__(self) -> Hold:
        return self._entered(await self.aio.acquire(blocking=self.waits))

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        hold = self._taken_from(_caller())
        await finished(off_loop(self._leave, hold, error))


class Lock(BaseLock):
    """A lock of a resource, renewed for as long as it is held.

    `with lock as hold:` or `async with lock as hold:` wait until it is free; `hold.fence` is for
    what must refuse late writers. It belongs to the thread or asyncio task that took it, which
    can't take it twice. `lease` is how long others wait for a holder that died, in seconds;
    `on_lost(hold)` is called in a thread of its own. Without `scheduler`, it is that of the first
    task that names the lock as its `sync`.
    """

    def __init__(
        self,
        name: str,
        lease: float = 60.0,
        *,
        scheduler: Home | None = None,
        store: str = "default",
        retry_interval: float = 0.1,
        on_lost: Callable[[Hold], object] | None = None,
    ) -> None:
        super().__init__(
            name, scheduler=scheduler, store=store, retry_interval=retry_interval, on_lost=on_lost
        )
        self.lease_us = read_seconds("lease", lease)

    def request(self, place: Place) -> LockRequest:
        """Return a request for one acquisition."""
        return LockRequest(self.name, place.new_owner(), self.lease_us, place.about())

    def _began(self, hold: Hold, place: Place) -> None:
        renewal = threading.Thread(
            target=self._renew_on,
            args=(hold, place),
            name=f"tickwork-lock-{self.name}",
            daemon=True,
        )
        renewal.start()

    def _renew_on(self, hold: Hold, place: Place) -> None:
        next_us = _due_us(hold)
        while True:
            place.wait(min(next_us, hold.until_us), hold.woken)
            hold.woken.clear()
            if not hold.held:
                break
            if place.now_us() >= next_us:
                try:
                    hold.renew()
                    next_us = _due_us(hold)
                except StoreError:
                    # Again and again, and more often towards the end.
                    now_us = place.now_us()
                    left_us = hold.until_us - now_us
                    next_us = now_us + max(_AGAIN_US, min(hold.lease_us // 20, left_us // 2))
        if hold.lost:
            self._tell_loss(hold)

    def _tell_loss(self, hold: Hold) -> None:
        logger.warning("%s", hold.told())
        try:
            if self._on_lost is not None:
                self._on_lost(hold)
        except Exception:
            # It is somebody else's code, and nobody waits for it.
            logger.exception("on_lost of %r failed", self)


class AsyncLock:
    """A lock for coroutines; see the methods of the lock itself."""

    def __init__(self, lock: BaseLock) -> None:
        self._of = lock

    async def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> Hold | None:
        """Take the lock; see `BaseLock.acquire`."""
        lock = self._of
        caller = lock._free_caller()  # noqa: SLF001  its other half
        place = lock.place
        until_us = _deadline(place, timeout)
        while True:
            hold = await self._attempted(place, caller)
            now_us = place.now_us()
            if hold or not blocking or (until_us is not None and now_us >= until_us):
                return hold
            pause_us = lock.retry_us if until_us is None else min(lock.retry_us, until_us - now_us)
            await asyncio.sleep(pause_us / SECOND)  # noqa: TID251  nobody tells that a lock is free

    async def _attempted(self, place: Place, caller: object) -> Hold | None:
        attempting = off_loop(self._of._try, place, caller)  # noqa: SLF001  its other half
        try:
            hold: Hold | None = await asyncio.shield(attempting)
        except asyncio.CancelledError:
            # It may be taken at this very moment, and nobody would ever give it back.
            await finished(asyncio.ensure_future(self._undone(attempting, caller)))
            raise
        return hold

    async def _undone(self, attempting: asyncio.Future[Hold | None], caller: object) -> None:
        try:
            hold = await attempting
        except Exception:  # noqa: BLE001  it wasn't taken, and who asked is gone
            return
        if hold is not None:
            self._of._holds.pop(caller, None)  # noqa: SLF001  its other half
            await off_loop(hold.release)

    async def release(self) -> None:
        """Give it back; see `BaseLock.release`."""
        hold = self._of._taken_from(_caller())  # noqa: SLF001  its other half
        await finished(off_loop(self._of._end, hold))  # noqa: SLF001  its other half


def _due_us(hold: Hold) -> int:
    """Return when to renew a lock: when a third of its lease has passed."""
    return hold.until_us - hold.lease_us + max(1, hold.lease_us // 3)


def _caller() -> object:
    """Return who calls: an asyncio task, or a thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task or threading.current_thread()


def _deadline(place: Place, timeout: float | None) -> int | None:
    if timeout is None:
        return None
    return place.now_us() + (read_seconds("timeout", timeout) if timeout else 0)
