"""The lock that lets one step at a time change a folder, among processes and their threads.

An advisory lock on a file: `flock` where there is one, a locked byte on Windows. The system gives
it back when its holder dies, however that happens; nobody can die with it. Both belong to the open
file and not to the process, so that two stores in one process exclude each other too. A forked
child shares the open file, and with it the lock, of its parent: it has to close its copy.

Waiting is bounded: a holder that stands still (stopped, or waiting for its disk) is an unavailable
store, not a hung scheduler. On NFS the lock excludes the processes of one host only, or nobody at
all, depending on how it is mounted: a folder there must not be shared.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Event
from time import monotonic

from tickwork.errors import StoreUnavailableError

__all__ = ["FileLock"]

_FIRST_PAUSE_S = 0.000_2
_LONGEST_PAUSE_S = 0.01

if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int, *, shared: bool) -> None:  # noqa: ARG001  the system has one kind
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _release(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(descriptor: int, *, shared: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)

    def _release(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class FileLock:
    """A lock on a file, which is made if it isn't there; not for two threads at a time."""

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._file = self._opened()

    def _opened(self) -> FileIO:
        return FileIO(self._path, "ab+", opener=lambda path, flags: os.open(path, flags, 0o600))

    def close(self) -> None:
        """Close the file; where it is a copy of a parent's, its lock stays the parent's."""
        with suppress(OSError):
            self._file.close()

    @contextmanager
    def held(self, *, shared: bool) -> Iterator[None]:
        """Hold the lock: alone, or together with others that hold it `shared`."""
        self._acquire(shared=shared)
        while not self._is_there():
            # Somebody removed the file; those who came later have another one.
            _release(self._file.fileno())
            file = self._opened()
            self.close()
            self._file = file
            self._acquire(shared=shared)
        try:
            yield
        finally:
            _release(self._file.fileno())

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _acquire(self, *, shared: bool) -> None:
        deadline: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                _try(self._file.fileno(), shared=shared)
            except (BlockingIOError, PermissionError):
                now = monotonic()
                deadline = now + self._wait_s if deadline is None else deadline
                if now >= deadline:
                    raise StoreUnavailableError(
                        f"another process has held {self._path} for {self._wait_s:g} s; it may be "
                        "stopped, or its disk very slow"
                    ) from None
                Event().wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return
