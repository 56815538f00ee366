"""One acquisition of a lock: until it is given back, or lost."""

import logging
import os
import threading
from contextlib import suppress

from tickwork.coordination.place import Place
from tickwork.errors import LockLostError, StoreError, StoreUnavailableError
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRequest

__all__ = ["Hold", "acquired", "attempt", "refusal"]

logger = logging.getLogger("tickwork.coordination")


class Hold:
    """A lock that this process has. From any thread.

    It ends when it is given back, and is `lost` when its lease is over or somebody else has it.
    A forked child doesn't have what its parent has.
    """

    def __init__(  # noqa: PLR0917  made in one place
        self, place: Place, name: str, owner: str, fence: int, lease_us: int, until_us: int
    ) -> None:
        self.name = name
        self.owner = owner
        self.fence = fence
        """Higher than that of any holder before: for what must refuse late writers."""
        self.lease_us = lease_us
        self.woken = threading.Event()
        """Set when it is given back; a clock may set it too."""
        self._place = place
        self._until_us = until_us
        self._lost = False
        self._released = False
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        state = "lost" if self.lost else "given back" if self._released else "held"
        return f"<Hold of {self.name!r}, fence {self.fence}, {state}>"

    @property
    def until_us(self) -> int:
        """Until when it is certainly held, in the time of its place."""
        return self._until_us

    @property
    def age_us(self) -> int:
        """How long ago it was renewed, at least."""
        return self._place.now_us() - (self._until_us - self.lease_us)

    @property
    def taken(self) -> bool:
        """Whether this process has still to give it back."""
        return not self._released and self._pid == os.getpid()

    @property
    def held(self) -> bool:
        """Whether it is certainly held at this moment."""
        return not self._released and not self.lost

    @property
    def lost(self) -> bool:
        """Whether somebody else may have the lock although it wasn't given back."""
        if self._lost or self._released:
            return self._lost
        return self._pid != os.getpid() or self._place.now_us() >= self._until_us

    def check(self) -> None:
        """Go on only if the lock is still held.

        Raises:
            LockLostError: it isn't.
        """
        if not self.held:
            raise LockLostError(self.told())

    def told(self) -> str:
        """Return what is to be said about its loss."""
        return (
            f"the lock {self.name!r} was lost after its lease of {self.lease_us / SECOND:g} s; "
            "another holder may be at work"
        )

    def renew(self) -> bool:
        """Have the lease begin anew; whether the lock is still held.

        Raises:
            StoreUnavailableError: it isn't known; the lease goes on as it was.
        """
        # Asked first: in a forked child, a thread that stayed behind may have the lock below.
        if not self.taken:
            return False
        with self._lock:
            if not self.held:
                self._lost = self.lost
                return False
            asked_us = self._place.now_us()
            if self._place.store.renew_lock(self.name, self.owner, self.lease_us):
                self._until_us = asked_us + self.lease_us
            else:
                self._lost = True
            return not self._lost

    def release(self, kept_us: int | None = None) -> bool:
        """Give it back; whether it was held until now. With `kept_us`, see `LockRequest`."""
        if not self.taken:
            return False
        with self._lock:
            if self._released:
                return False
            self._lost = self.lost
            self._released = True
            self.woken.set()
            try:
                was_held = self._place.store.renew_lock(self.name, self.owner, 0, kept_us)
            except StoreError as error:
                # It ends by itself when its lease is over.
                logger.warning("lock %r could not be given back: %s", self.name, error)
                return not self._lost
            # The store knows best: here, a lease is over a little earlier.
            self._lost = not was_held
            return was_held


def acquired(place: Place, request: LockRequest) -> Hold | str:
    """Take a lock, or say why not.

    Raises:
        StoreUnavailableError: it isn't known; ask again with the same request, or let its lease
            pass.
    """
    asked_us = place.now_us()
    lock = place.store.acquire_lock(request)
    if lock.owner != request.owner:
        return refusal(lock.owner and lock.about, request.name)
    until_us = asked_us + request.lease_us
    return Hold(place, request.name, request.owner, lock.fence, request.lease_us, until_us)


def attempt(place: Place, request: LockRequest) -> Hold | str:
    """Take a lock that is held when this returns, or say why not.

    Once more if nobody knows whether the first time took effect.

    Raises:
        StoreUnavailableError: the store doesn't answer; the lock was given back, if that was
            possible.
    """
    try:
        try:
            got = acquired(place, request)
        except StoreUnavailableError:
            got = acquired(place, request)
    except BaseException:
        # Nobody knows whether it was given, and nobody would ever give it back.
        with suppress(StoreError):
            place.store.renew_lock(request.name, request.owner, 0, request.label_us)
        raise
    if isinstance(got, Hold) and got.lost:
        got.release(request.label_us)
        return f"the lock {request.name!r} was given too late: its lease was over already"
    return got


def refusal(holder: str, name: str) -> str:
    """Return why a lock wasn't given."""
    if holder:
        return f"the lock {name!r} is held by {holder}"
    return f"the lock {name!r} is kept: its work has been done for this span of time"
