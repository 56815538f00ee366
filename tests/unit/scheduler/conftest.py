"""A place with one clock and one store, where schedulers come and go."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tickwork.scheduler.loop import LoopSettings
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler

STEPPED = LoopSettings(threaded=False)


class Home:
    """Makes schedulers over the same store and clock; a second one is a restarted process."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.persistent = kind == "sqlite"
        self.file = folder / "tasks.db"
        self.clock = ManualClock()
        self._memory = MemoryStore()
        self._made: list[SteppedScheduler] = []

    @property
    def store(self) -> Any:
        if self.persistent:
            return f"sqlite:///{self.file}?durability=normal"
        return self._memory

    def new(self, **options: Any) -> SteppedScheduler:
        store = None if "stores" in options else self.store
        options.setdefault("clock", self.clock)
        options.setdefault("patience_s", 5.0)
        scheduler = SteppedScheduler(store, **options)
        self._made.append(scheduler)
        return scheduler

    def start(self, *, paused: bool = False, **options: Any) -> SteppedScheduler:
        scheduler = self.new(**options)
        scheduler.start(paused=paused)
        return scheduler

    def end(self) -> None:
        jobs.go.set()
        for scheduler in self._made:
            scheduler.stop(timeout=2)


def tick(scheduler: SteppedScheduler) -> None:
    """Let runs begin without waiting for their end."""
    loops = scheduler._loops()  # noqa: SLF001  stepping would wait for the end
    deadline = time.monotonic() + 10
    for loop in loops:
        loop.tick()
    for held in [held for loop in loops for held in loop.in_flight()]:
        waits_for_mark = held.definition.marks_start and not held.marked
        while not (held.started_us or waits_for_mark) and time.monotonic() < deadline:
            threading.Event().wait(0.002)


@pytest.fixture(autouse=True)
def _fresh_jobs() -> None:
    jobs.calls = []
    jobs.go = threading.Event()


@pytest.fixture(params=["memory", "sqlite"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Run the test on both stores."""
    place = Home(request.param, tmp_path)
    yield place
    place.end()


@pytest.fixture
def memory_home(tmp_path: Path) -> Iterator[Home]:
    place = Home("memory", tmp_path)
    yield place
    place.end()


@pytest.fixture
def sqlite_home(tmp_path: Path) -> Iterator[Home]:
    place = Home("sqlite", tmp_path)
    yield place
    place.end()
