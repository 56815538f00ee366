"""A lock on a file, among the processes of one host; the system gives it back when they die.

The lock belongs to the open file. The file itself is made where it isn't there and never removed:
somebody who has opened it already would hold a lock that nobody else sees. Where others have
removed it all the same, whoever finds that out when he gets the lock, begins with the new file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os.path import samestat
from pathlib import Path
from string import Formatter
from threading import Event
from time import monotonic
from weakref import WeakSet

from tickwork.errors import ConflictError, InvalidInputError

__all__ = ["FileLockProtected", "lock_descriptor", "unlock_descriptor"]

_PAUSE_S = 0.02

if sys.platform == "win32":
    import msvcrt

    def lock_descriptor(descriptor: int, *, shared: bool = False) -> None:  # noqa: ARG001  the system has one kind
        """Lock an open file or raise BlockingIOError or PermissionError."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def unlock_descriptor(descriptor: int) -> None:
        """Unlock an open file."""
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock_descriptor(descriptor: int, *, shared: bool = False) -> None:
        """Lock an open file or raise BlockingIOError or PermissionError."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)

    def unlock_descriptor(descriptor: int) -> None:
        """Unlock an open file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class FileLockProtected:
    """A lock on a file. In its path, `{pgrp}` is the process group, `{ppid}` the parent process.

    So the workers of one server exclude each other, and not those of another one. Other `{names}`
    are those of `values`. Threads exclude each other too, if each uses `protected`, or has a lock
    object of its own. A forked child doesn't have what its parent has, and doesn't give it back.
    """

    def __init__(self, path: str | os.PathLike[str], **values: str) -> None:
        self._template = os.fspath(path)
        self._values = values
        self._taken: _Taken | None = None
        self.path  # noqa: B018  what can't be read must not wait until it is needed

    def __repr__(self) -> str:
        return f"<FileLockProtected {self._template!r}>"

    @property
    def path(self) -> Path:
        """The file that it is at this moment.

        Raises:
            InvalidInputError: the path names something else in braces.
        """
        known = {"pgrp": str(os.getpgrp()), "ppid": str(os.getppid()), **self._values}
        try:
            named = [
                field for _, field, _, _ in Formatter().parse(self._template) if field is not None
            ]
            return Path(self._template.format_map({name: known[name] for name in named}))
        except (KeyError, ValueError) as error:
            raise InvalidInputError(
                f"{self._template!r}: {error} can't stand in the path of a lock; these can: "
                f"{', '.join('{' + name + '}' for name in sorted(known))}"
            ) from None

    @property
    def held(self) -> bool:
        """Whether `acquire` has taken it and `release` has not given it back."""
        return self._taken is not None and self._taken.open

    def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; False where somebody else has it, for as long as it waits.

        Raises:
            ConflictError: this object has it already.
            OSError: the file can't be opened.
        """
        if self.held:
            raise ConflictError(f"{self!r} is held already, and can't be taken twice")
        taken = self._wait(blocking=blocking, timeout=timeout)
        if taken is not None:
            self._taken = taken
        return taken is not None

    def release(self) -> None:
        """Give it back; nothing happens where it isn't held."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.give_back()

    def forsake(self) -> None:
        """Forget in a forked child what its parent took, and still has."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.close()

    @contextmanager
    def protected(self, blocking: bool = True, timeout: float | None = None) -> Iterator[bool]:  # noqa: FBT001, FBT002  a field's known spelling
        """Hold the lock inside of the `with`; its value says whether it was taken."""
        taken = self._wait(blocking=blocking, timeout=timeout)
        try:
            yield taken is not None
        finally:
            if taken is not None:
                taken.give_back()

    def _wait(self, *, blocking: bool, timeout: float | None) -> _Taken | None:
        until = None if timeout is None else monotonic() + timeout
        path = self.path
        while (taken := _try(path)) is None:
            left_s = None if until is None else until - monotonic()
            if not blocking or (left_s is not None and left_s <= 0):
                return None
            Event().wait(_PAUSE_S if left_s is None else min(_PAUSE_S, left_s))
        return taken


class _Taken:
    """An open file, to be locked."""

    def __init__(self, path: Path) -> None:
        # Whoever may put a link there must not choose what is opened.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor: int | None = os.open(path, flags, 0o600)
        _open_here.add(self)

    @property
    def open(self) -> bool:
        """Whether it hasn't been closed."""
        return self._descriptor is not None

    def lock(self) -> bool:
        """Lock it; False where somebody else has."""
        return self._descriptor is not None and _locked(self._descriptor)

    def is_at(self, path: Path) -> bool:
        """Whether it is the file that others find at this path."""
        try:
            descriptor = self._descriptor
            return descriptor is not None and samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            return False

    def give_back(self) -> None:
        """Unlock and close it."""
        if self._descriptor is not None:
            try:
                unlock_descriptor(self._descriptor)
            finally:
                self.close()

    def close(self) -> None:
        """Close it; a lock is gone with the last copy of an open file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_open_here: WeakSet[_Taken] = WeakSet()
"""A forked child has copies of these, which would keep the locks of a parent that is long dead."""


def _close_copies() -> None:
    for taken in list(_open_here):
        taken.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)


def _try(path: Path) -> _Taken | None:
    """Lock a file; None where somebody else has it."""
    while True:
        taken = _Taken(path)
        try:
            if not taken.lock():
                taken.close()
                return None
            if taken.is_at(path):
                return taken
        except BaseException:
            taken.close()
            raise
        # It was removed, by somebody else, before it could be locked.
        taken.close()


def _locked(descriptor: int) -> bool:
    try:
        lock_descriptor(descriptor)
    except (BlockingIOError, PermissionError):
        return False
    return True
