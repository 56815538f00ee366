"""Disks on which something happens: the process dies between two operations, or the power fails."""

import os
from io import FileIO
from itertools import count
from pathlib import Path

from tickwork.stores.file.disk import Disk


class StoppedError(BaseException):
    """The process is dead: nothing of it happens any more."""


class StoppingDisk(Disk):
    """A disk that its process reaches only so many times; the last write is done by half."""

    def __init__(self, operations: int) -> None:
        self.left = operations

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoppedError

    def create(self, path: str) -> FileIO:
        self._spend()
        return super().create(path)

    def write(self, file: FileIO, data: bytes) -> None:
        if self.left == 0:
            file.write(data[: len(data) // 2])
        self._spend()
        super().write(file, data)

    def truncate(self, file: FileIO, size: int) -> None:
        self._spend()
        super().truncate(file, size)

    def sync(self, file: FileIO) -> None:
        self._spend()
        super().sync(file)

    def sync_folder(self, path: str) -> None:
        self._spend()
        super().sync_folder(path)

    def replace(self, source: str, target: str) -> None:
        self._spend()
        super().replace(source, target)

    def remove(self, path: str) -> None:
        self._spend()
        super().remove(path)


class FailingDisk(StoppingDisk):
    """A disk that answers with an error once, to one operation, and then works again."""

    def _spend(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise OSError(28, "No space left on device")


class CountingDisk(Disk):
    """A disk that counts how often somebody has waited for it."""

    def __init__(self) -> None:
        self.syncs = 0

    def sync(self, file: FileIO) -> None:
        self.syncs += 1
        super().sync(file)


class ForgetfulDisk(StoppingDisk):
    """A disk that remembers after a power cut only what it was told to.

    Of a file, what it was when it was synced; of a folder, which files had which names then.
    """

    def __init__(self, operations: int = 1_000_000_000) -> None:
        super().__init__(operations)
        # The system gives the numbers of files that are gone to new ones; ours are never the same.
        self._serials = count()
        self._serial_of: dict[int, int] = {}
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, dict[str, int]] = {}

    def create(self, path: str) -> FileIO:
        file = super().create(path)
        self._serial_of[os.fstat(file.fileno()).st_ino] = next(self._serials)
        return file

    def sync(self, file: FileIO) -> None:
        super().sync(file)
        status = os.fstat(file.fileno())
        content = os.pread(file.fileno(), status.st_size, 0)
        self._contents[self._serial_of[status.st_ino]] = content

    def sync_folder(self, path: str) -> None:
        super().sync_folder(path)
        with os.scandir(path) as entries:
            numbers = {each.name: each.inode() for each in entries}
        self._names[path] = {
            name: self._serial_of[number]
            for name, number in numbers.items()
            if number in self._serial_of
        }

    def what_survives(self, folder: Path, copy: Path) -> None:
        """Write into `copy` what is left of a folder after a power cut."""
        (copy / "tasks").mkdir(parents=True)
        for path, names in self._names.items():
            if Path(path).is_relative_to(folder):
                place = copy / Path(path).relative_to(folder)
                for name, serial in names.items():
                    (place / name).write_bytes(self._contents.get(serial, b""))
