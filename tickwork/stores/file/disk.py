"""What the file store does to files: the only module that changes any.

Every change is one of a few primitive operations, so that a test can stop the world between any
two of them. Errors of the system come out as they are. Files are named by text here, not by paths:
a step may write a thousand of them, and paths would take a fifth of its time.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

__all__ = ["Disk"]

_NEW = ".new"
_MANY = 500
"""From how many files on they aren't synced one by one."""


class Disk:
    """The primitive operations, and what is made of them."""

    # --- primitives ---------------------------------------------------------------------------

    def make_folder(self, path: Path) -> None:
        """Make a folder that only its owner can enter, unless it is there."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, path: str) -> FileIO:
        """Open a new, empty file in the place of any other, to be written by its owner only."""
        flags = os.O_CREAT | os.O_TRUNC | os.O_RDWR | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o600)
        return FileIO(descriptor, "r+b")

    def write(self, file: FileIO, data: bytes) -> None:
        """Write all of the data."""
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]

    def truncate(self, file: FileIO, size: int) -> None:
        """Cut a file off."""
        file.truncate(size)

    def sync(self, file: FileIO) -> None:
        """Return when a file can't be lost in a power cut."""
        os.fsync(file.fileno())

    def sync_folder(self, path: str) -> None:
        """Return when the names in a folder can't be lost; no-op where there is no such call."""
        if sys.platform == "win32":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, source: str, target: str) -> None:
        """Give a file another name, in the place of the file that has it."""
        os.replace(source, target)  # noqa: PTH105  text, as below

    def remove(self, path: str) -> None:
        """Remove a file, unless it is gone."""
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  text, as below

    # --- what is made of them -----------------------------------------------------------------

    def put(self, folder: str, name: str, data: bytes, *, durable: bool) -> None:
        """Replace a file atomically: who opens it sees all of the old one or all of the new."""
        new = f"{folder}{os.sep}{_NEW}"
        with self.create(new) as file:
            self.write(file, data)
            if durable:
                self.sync(file)
        self.replace(new, f"{folder}{os.sep}{name}")

    def sync_all(self, folder: str, names: Sequence[str]) -> bool:
        """Return true when files of a folder can't be lost, and those that are gone stay gone.

        False at once where that would take too long.
        """
        if len(names) >= _MANY:
            if sys.platform == "linux":
                # Waits for the disk there; elsewhere it may return before.
                os.sync()
            return sys.platform == "linux"
        for name in names:
            with suppress(FileNotFoundError), FileIO(f"{folder}{os.sep}{name}", "r+b") as file:
                self.sync(file)
        self.sync_folder(folder)
        return True
