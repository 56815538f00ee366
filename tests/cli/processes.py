"""Processes of the command line, their output line by line, each wait with a deadline."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Self

__all__ = ["REPOSITORY", "Process", "started"]

REPOSITORY = Path(__file__).parents[2]
_DEADLINE_S = 30.0


class Process:
    """A Python process whose output is read while it runs; stdout and stderr are one."""

    def __init__(self, arguments: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        known = {name: value for name, value in os.environ.items() if "TICKWORK" not in name}
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**known, "PYTHONPATH": str(REPOSITORY), "TZ": "UTC", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self.lines: list[str] = []
        self._unread: SimpleQueue[str | None] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._unread.put(line.rstrip("\n"))
        self._unread.put(None)

    def until(self, words: str) -> str:
        """Return the first unread line that contains `words`."""
        while (line := self._next()) is not None:
            if words in line:
                return line
        raise AssertionError(f"{words!r} never came; its output:\n" + "\n".join(self.lines))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end, and return its exit code."""
        while self._next() is not None:
            pass
        return self._process.wait(_DEADLINE_S)

    def _next(self) -> str | None:
        try:
            line = self._unread.get(timeout=_DEADLINE_S)
        except Empty:
            raise AssertionError("no output:\n" + "\n".join(self.lines)) from None
        if line is not None:
            self.lines.append(line)
        return line


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    """Run Python with these arguments in a folder, for the time of a block."""
    with Process(list(arguments), folder, environment) as process:
        yield process
