"""A lifecycle that tells what it did."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from tickwork import Scheduler

__all__ = ["PATIENCE_S", "Diary", "live", "told"]

PATIENCE_S = 10


class Diary:
    """What a lifecycle did, in order; it raises at the words that are `bad`, waits at `slow`."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.bad: set[str] = set()
        self.slow: set[str] = set()
        self.go = threading.Event()
        self.loops: set[int] = set()
        self.noted: asyncio.Event | None = None
        """Set with each word, where somebody waits on an event loop."""

    def note(self, word: str) -> None:
        self.words.append(word)
        if self.noted is not None:
            self.noted.set()
        if word in self.slow:
            self.go.wait(PATIENCE_S)
        if word in self.bad:
            raise RuntimeError(word)

    def take(self) -> str:
        """Return what was done since the last time."""
        words, self.words[:] = " ".join(self.words), []
        return words

    def until(self, *words: str) -> None:
        """Wait until these are the last words."""
        end = time.monotonic() + PATIENCE_S
        pause = threading.Event()
        while self.words[-len(words) :] != list(words):
            assert time.monotonic() < end, f"{words} never came, but {self.words}"
            pause.wait(0.005)

    def plain(self) -> Generator[None, bool, None]:
        self.note("up")
        try:
            running = yield
            while running:
                self.note("tick")
                running = yield
            self.note("down")
        finally:
            self.note("over")

    async def running(self) -> AsyncGenerator[None, bool]:
        self.note("up")
        try:
            running = yield
            while running:
                self.loops.add(id(asyncio.get_running_loop()))
                await asyncio.sleep(0)  # noqa: TID251  a turn of the loop, not time
                self.note("tick")
                running = yield
            self.note("down")
        finally:
            self.note("over")


def live(scheduler: Scheduler, cycle: Callable[[], Any], **options: Any) -> None:
    scheduler.lifecycle("interval", minutes=5, **{"id": "x", **options})(cycle)


def told(scheduler: Scheduler) -> list[tuple[str, str, str]]:
    """Return what runs there were, oldest first."""
    runs = reversed(scheduler.get_runs(store="local"))
    return [(run.name, run.source, run.status) for run in runs]
