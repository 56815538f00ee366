"""The functions that everybody calls, and the count of their calls.

Stores of all contenders find functions by module and name, so the count can't be handed to them as
an argument: it is kept here, in the one process that measures one thing.
"""

import asyncio
import threading
import time
from itertools import count

__all__ = [
    "FUNCTIONS",
    "GATE",
    "GOAL",
    "NAPS",
    "STAMPS",
    "Gate",
    "Goal",
    "nap_function",
    "noop_coroutine",
    "noop_function",
    "stamp_coroutine",
    "stamp_function",
    "waiting_coroutine",
]

_NAP_S = 0.005


class Goal:
    """Notes when a number of calls is reached."""

    def __init__(self) -> None:
        self.calls = count(1)
        self.wanted = 0
        self.reached_at = 0.0
        self._reached = threading.Event()

    def want(self, calls: int) -> None:
        """Begin to count anew."""
        self.calls = count(1)
        self.wanted = calls
        self._reached.clear()

    def reach(self) -> None:
        """Note that the wanted call is being made."""
        self.reached_at = time.perf_counter()
        self._reached.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the wanted call."""
        return self._reached.wait(timeout_s)

    def made(self) -> int:
        """Return how many calls there were; ends the count."""
        return next(self.calls) - 1


class Gate:
    """Holds coroutines back until it is opened, on whatever loop each of them runs."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def passed(self) -> None:
        """Wait until it is open."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def open(self) -> None:
        """Let all go on; called in another thread."""
        for waiting in self._waiting:
            waiting.get_loop().call_soon_threadsafe(waiting.set_result, None)


GOAL = Goal()
GATE = Gate()

STAMPS: tuple[list[int], list[float]] = ([], [])
"""Which task was called, and when."""

NAPS: list[float] = []
"""When each nap was over."""


async def noop_coroutine() -> None:
    """Do nothing but be counted."""
    if next(GOAL.calls) == GOAL.wanted:
        GOAL.reach()


async def waiting_coroutine() -> None:
    """Be counted, and wait for the gate."""
    if next(GOAL.calls) == GOAL.wanted:
        GOAL.reach()
    await GATE.passed()


def noop_function() -> None:
    """Do nothing but be counted, in a thread."""
    if next(GOAL.calls) == GOAL.wanted:
        GOAL.reach()


def nap_function() -> None:
    """Sleep for a few milliseconds, as who waits for something else, and be counted."""
    time.sleep(_NAP_S)
    NAPS.append(time.perf_counter())


async def stamp_coroutine(number: int) -> None:
    """Note that a task was called."""
    STAMPS[0].append(number)
    STAMPS[1].append(time.time())


def stamp_function(number: int) -> None:
    """Note that a task was called, in a thread."""
    STAMPS[1].append(time.time())
    STAMPS[0].append(number)


FUNCTIONS = (noop_coroutine, noop_function, nap_function, stamp_function)
"""Those that are called once; who calls by name must be told beforehand."""
