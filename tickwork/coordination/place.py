"""Where locks are kept, and how time is measured while they are held.

Leases end by the store's clock; how much of one is left, is measured here by a clock that nobody
sets, and that goes on while a machine sleeps, from before the store was asked: so it is always over
here first.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Protocol
from uuid import uuid4
from weakref import ReferenceType, ref

from tickwork.errors import InvalidInputError, SchedulerStateError
from tickwork.interfaces import Clock, Locking
from tickwork.model.instants import SECOND
from tickwork.model.standard import is_unicode

__all__ = ["Home", "Place", "Placed", "lock_name"]

_LONGEST_NAME = 191
_NEVER_STANDS = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's monotonic clock stands still while the machine sleeps, and leases don't."""


def _monotonic_ns() -> int:
    if _NEVER_STANDS is None:
        return time.monotonic_ns()
    return time.clock_gettime_ns(_NEVER_STANDS)


class Place:
    """A store of locks. With `simulated`, the time of a test stands in for all clocks.

    `label_us` returns the time of the store, as far as that is known here.
    """

    def __init__(
        self,
        store: Locking,
        clock: Clock,
        label_us: Callable[[], int],
        *,
        simulated: bool = False,
    ) -> None:
        self.store = store
        self.label_us = label_us
        self._clock = clock
        self._simulated = simulated

    def now_us(self) -> int:
        """Return a time that never goes back; only differences mean anything."""
        return self._clock.now_us() if self._simulated else _monotonic_ns() // 1_000

    def wait(self, until_us: int, woken: threading.Event) -> None:
        """Return at a time of `now_us`, when `woken` is set, or earlier for no reason.

        The clock of a test sets `woken` itself: it says nothing but that it is time to look.
        """
        if self._simulated:
            self._clock.wait(until_us, woken)
        else:
            woken.wait(max(0, until_us - self.now_us()) / SECOND)

    @staticmethod
    def new_owner() -> str:
        """Return a name for one acquisition."""
        return uuid4().hex

    @staticmethod
    def about() -> str:
        """Return who this process is, for people."""
        return f"process {os.getpid()} on {socket.gethostname()}"


class Home(Protocol):
    """What knows stores of locks: a scheduler."""

    def locks_at(self, store: str) -> Place:
        """Return the place of one of its stores.

        Raises:
            SchedulerStateError: it isn't connected.
            TaskConfigurationError: it has no such store, or one that keeps no locks.
        """


class Placed:
    """Something that has a name in a store of a scheduler.

    One that was made for no scheduler belongs to those that adopt it: to the first that is
    connected, where it is made once and for many.
    """

    def __init__(self, name: str, scheduler: Home | None, store: str) -> None:
        if not _is_name(name):
            raise InvalidInputError(
                f"name={name!r:.60} must be a text of 1 to {_LONGEST_NAME} characters"
            )
        self.name = name
        self._home = scheduler
        self._adopted: list[ReferenceType[Home]] = []
        self._store_name = store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def belong_to(self, scheduler: Home) -> None:
        """Be kept in a store of this scheduler, unless it was made for another one."""
        known = list(self._homes())
        if self._home is None and scheduler not in known:
            self._adopted = [ref(home) for home in (*known, scheduler)]

    def _homes(self) -> Iterator[Home]:
        if self._home is not None:
            yield self._home
        yield from (home for each in self._adopted if (home := each()) is not None)

    @property
    def place(self) -> Place:
        """Where it is kept.

        Raises:
            SchedulerStateError: it was made for no scheduler, or for one that isn't connected.
        """
        homes = list(self._homes())
        if not homes:
            raise SchedulerStateError(
                f"{self!r} doesn't know its store: make it with scheduler=..., or name it in a "
                "task of a scheduler first"
            )
        for home in homes[:-1]:
            with suppress(SchedulerStateError):
                return home.locks_at(self._store_name)
        return homes[-1].locks_at(self._store_name)


def lock_name(kind: str, name: str) -> str:
    """Return the name of a lock of a kind, which every store takes, however long the other is."""
    whole = f"{kind}:{name}"
    if _is_name(whole):
        return whole
    digest = blake2b(whole.encode(), digest_size=16).hexdigest()
    return f"{whole.replace(chr(0), '')[: _LONGEST_NAME - 1 - len(digest)]}~{digest}"


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or "\0" in name:
        return False
    return bool(name.strip()) and is_unicode(name)
