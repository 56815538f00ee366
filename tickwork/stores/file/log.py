"""The log of a folder: files `runs-1.jsonl`, `runs-2.jsonl`, ..., of which the newest counts.

Each begins with a step that says all that is kept of runs, nodes and locks, and grows by a step at
a time. When it has become much longer than what it says, a new one is written beside it and gets
its name when it is on the disk; only then the old one goes. Who has the old one open reads it to
its end, which says the same as the beginning of the new one.

What stands behind the last whole step is cut off before the next step is written. Usually that is a
part of a step. If whole steps stand there all the same, then something has damaged the file: that
part is kept beside it, under another name.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from tickwork.errors import StoreUnavailableError
from tickwork.stores.file.disk import Disk
from tickwork.stores.file.steps import Mark, Step, holds_steps, sealed, steps_in

__all__ = ["Log"]

logger = logging.getLogger("tickwork.stores.file")

_SHORT = 32 << 20
_TIMES = 2
"""A log is renewed when it is longer than this, and so many times as long as its beginning."""

_NAME = re.compile(r"runs-(\d+)\.jsonl")


class Log:
    """The newest log of a folder, open. Its methods are called under the folder's lock."""

    def __init__(self, folder: Path, disk: Disk, *, durable: bool) -> None:
        self._folder = folder
        self.disk = disk
        self._durable = durable
        self._file: FileIO | None = None
        self._generation = 0
        self._end = 0
        self._synced = 0
        self.number = 0
        self._base_size = 0

    @property
    def is_new(self) -> bool:
        """Whether there is no log yet."""
        return self._file is None

    @property
    def overgrown(self) -> bool:
        """Whether it is much longer than what it says."""
        return self._end > max(_SHORT, _TIMES * self._base_size)

    @property
    def _open(self) -> FileIO:
        if self._file is None:
            raise StoreUnavailableError(f"the log in {self._folder} isn't open")
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _path(self, generation: int) -> Path:
        return self._folder / _name(generation)

    def _generations(self) -> list[int]:
        names = [_NAME.fullmatch(path.name) for path in self._folder.iterdir()]
        return sorted(int(found[1]) for found in names if found)

    # --- reading ------------------------------------------------------------------------------

    def begin(self) -> Iterator[Step]:
        """Open the newest log, and yield all its steps; none where there is no log."""
        self.close()
        generations = self._generations()
        self._generation = generations[-1] if generations else 0
        self._end = self._synced = self.number = self._base_size = 0
        if not generations:
            return
        path = self._path(self._generation)
        self._file = FileIO(path, "r+b")
        # Whoever gave it its name may have died before that was sure.
        self.disk.sync_folder(str(self._folder))
        for step in self._read():
            if not self._base_size:
                self._base_size = step.end
            yield step
        if not self._base_size:
            raise StoreUnavailableError(
                f"{path} doesn't begin as a log of tickwork does; put it back from a backup, or "
                "move it away to go on without the runs that it kept"
            )

    def catch_up(self) -> Iterator[Step] | None:
        """Return the steps that others took since the last call; None where they are gone."""
        if self._file is None:
            return None
        following = self._path(self._generation + 1)
        if not following.exists() and self._path(self._generation).exists():
            size = self._file.seek(0, 2)
            if size == self._end:
                return iter(())
            return self._read() if size > self._end else None
        return self._change_over(following)

    def _change_over(self, following: Path) -> Iterator[Step] | None:
        """Return the rest of the old log, and what the new one says beyond it."""
        rest = list(self._read())
        number = self.number
        if self._durable:
            # As when one begins to read it.
            self.disk.sync_folder(str(self._folder))
        self.close()
        try:
            self._file = FileIO(following, "r+b")
        except FileNotFoundError:
            return None
        self._end = self._synced = 0
        base = next(self._read(), None)
        newest = self._generations()[-1] == self._generation + 1
        if base is None or base.number != number or not newest:
            return None
        self._generation += 1
        self._base_size = base.end
        return iter([*rest, base._replace(lines=[]), *self._read()])

    def _read(self) -> Iterator[Step]:
        begin = self._end
        self._open.seek(begin)
        for step in steps_in(self._open.read()):
            self._end = begin + step.end
            self.number = step.number
            yield step._replace(end=self._end)

    # --- writing ------------------------------------------------------------------------------

    def append(
        self, lines: Iterable[bytes], fence: int, *, mark: Mark | None = None, durable: bool = True
    ) -> None:
        """Add a step: it has happened when this returns, and has not if it raises OSError."""
        data = sealed(lines, self.number + 1, fence, mark)
        self._cut()
        file = self._open
        file.seek(self._end)
        try:
            self.disk.write(file, data)
            if durable and self._durable:
                self.disk.sync(file)
                self._synced = self._end + len(data)
        except OSError:
            # Nobody else has seen it yet. Where this fails too, it may turn out to have happened.
            with suppress(OSError):
                self.disk.truncate(file, self._end)
            raise
        self._end += len(data)
        self.number += 1

    def _cut(self) -> None:
        file = self._open
        if file.seek(0, 2) == self._end:
            return
        file.seek(self._end)
        rest = file.read()
        if holds_steps(rest):
            aside = f"damaged-{self._generation}-{self._end}.jsonl"
            self.disk.put(str(self._folder), aside, rest, durable=True)
            logger.error("the log was damaged, its rest is kept", extra={"file": aside})
        self.disk.truncate(file, self._end)

    def make_sure(self) -> None:
        """Have all that was read on the disk, before somebody relies on it."""
        if self._durable and self._synced < self._end:
            self.disk.sync(self._open)
            self._synced = self._end

    def renew(self, lines: Iterable[bytes], fence: int) -> None:
        """Go on in a new log that begins with these lines; always durable."""
        data = sealed(lines, self.number, fence, Mark.BASE)
        self.disk.put(str(self._folder), _name(self._generation + 1), data, durable=True)
        self.disk.sync_folder(str(self._folder))
        self.close()
        self._file = FileIO(self._path(self._generation + 1), "r+b")
        self._generation += 1
        self._end = self._synced = self._base_size = len(data)
        self.remove_old()

    def remove_old(self) -> None:
        """Remove logs that a newer one has replaced, as far as others let us."""
        for generation in self._generations():
            if generation < self._generation:
                with suppress(OSError):
                    self.disk.remove(str(self._path(generation)))


def _name(generation: int) -> str:
    return f"runs-{generation}.jsonl"
