"""Those who are compared. Each is imported only in a process that measures it."""

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

__all__ = [
    "QUEUES",
    "THREADS",
    "Contender",
    "Function",
    "Kind",
    "Recording",
    "Setup",
    "Work",
    "contender",
]

Kind = Literal["memory", "sqlite", "postgresql", "redis", "file"]
Work = Literal["coroutine", "thread"]
Function = Callable[..., Any]

THREADS = 10
"""How many threads each pool has: APScheduler's default."""

QUEUES = frozenset({"huey", "procrastinate", "rq"})
"""Those that are queues: clients add jobs, workers, which are others, call them."""


class Setup(NamedTuple):
    """How a contender is set up: its store, and the kind of functions it calls.

    `place` is where the store is: a path, the URL of a server, or nothing where it is in memory.
    It is `shared` with other processes, or not.
    """

    store: Kind
    place: str
    work: Work
    durable: bool = True
    shared: bool = False


class Contender(Protocol):
    """A scheduler, as the workloads see it."""

    def open(self, setup: Setup) -> None:
        """Start it, paused; on the event loop where it is to call coroutines.

        Of a queue, this is the client only.
        """

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        """Add tasks that are due once, in bulk where there is such a thing."""

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        """Add recurring tasks, or, to a queue, jobs for an hour later; `bulk` is for who can."""

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        """Add tasks that are called each second with their number; their phases spread evenly.

        They are over at `end`; then as many others may be added.
        """

    def submit(self, function: Function, number: int) -> None:
        """Have a function called with a number at once, by whoever works on the store."""

    def stored(self) -> int:
        """Return how many tasks it keeps."""

    def resume(self) -> None:
        """Let it fire; of a queue, start its worker."""

    def settle(self, count: int, timeout_s: float) -> float | None:
        """Wait for its records of that many runs, check them, and return when the last was written.

        The instant is one of `time.perf_counter`; None without records.
        """

    def close(self) -> None:
        """Stop it; never called on its event loop."""


@runtime_checkable
class Recording(Protocol):
    """A contender that keeps a record of each run, and says how many are written."""

    def tell(self, heard: Callable[[int, float], None]) -> None:
        """Call `heard` after each step: how many records there are, and when the last was made."""

    def check(self, count: int) -> None:
        """Look up whether there are as many records as there should be, one for each task."""


def contender(name: str) -> Contender:
    """Return a contender by its name, the name of its module here."""
    made: Contender = import_module(f"bench.contenders.{name}").make()
    return made
