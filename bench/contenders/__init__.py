"""Those who are compared. Each is imported only in a process that measures it."""

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

__all__ = ["THREADS", "Contender", "Function", "Setup", "Work", "contender"]

Work = Literal["coroutine", "thread"]
Function = Callable[..., Any]

THREADS = 10
"""How many threads each pool has: APScheduler's default."""


class Setup(NamedTuple):
    """How a contender is set up: its store (None: memory) and the kind of functions it calls."""

    file: Path | None
    work: Work
    durable: bool = True


class Contender(Protocol):
    """A scheduler, as the workloads see it."""

    def open(self, setup: Setup) -> None:
        """Start it, paused; on the event loop where it is to call coroutines."""

    def add_once(self, function: Function, count: int, due: datetime, first: int = 0) -> None:
        """Add tasks that are due once, in bulk where there is such a thing."""

    def add_hourly(self, function: Function, count: int) -> None:
        """Add recurring tasks, one by one."""

    def add_secondly(self, function: Function, count: int, start: datetime) -> None:
        """Add tasks that are called each second with their number; their phases spread evenly."""

    def resume(self) -> None:
        """Let it fire."""

    def settle(self, count: int, timeout_s: float) -> dict[str, float]:
        """Wait until its records of so many runs are written, check them, say when that was.

        Instants are those of `time.perf_counter`. Contenders without records return nothing.
        """

    def close(self) -> None:
        """Stop it; never on its event loop."""


def contender(name: str) -> Contender:
    """Return a contender by its name, the name of its module here."""
    made: Contender = import_module(f"bench.contenders.{name}").make()
    return made
