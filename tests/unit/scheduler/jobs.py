"""Functions that a persistent store can name, and what they were called with."""

import asyncio
import contextvars
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tickwork import Scheduler

calls: list[Any] = []
"""What was called, in order; another list for each test."""

go = threading.Event()
"""What `wait_for_go` waits for; another one for each test."""

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


def note(*args: Any, **kwargs: Any) -> None:
    calls.append((args, kwargs) if kwargs else args)


def other(*args: Any) -> None:
    calls.append(("other", *args))


def add(a: int, b: int = 1) -> int:
    calls.append(a + b)
    return a + b


def fail() -> None:
    calls.append("fail")
    raise RuntimeError("the disk is full")


async def coroutine(*args: Any) -> str:
    await asyncio.sleep(0)  # noqa: TID251  a turn of the loop, not time
    calls.append(("coroutine", threading.current_thread().name, *args))
    return "done"


async def forever() -> None:
    calls.append("forever")
    await asyncio.Event().wait()


def wait_for_go() -> None:
    # Those of the test that began it: a thread may outlive its test.
    mine, signal = calls, go
    mine.append("waiting")
    signal.wait(10)
    mine.append("went")


def leak(name: str) -> None:
    calls.append((name, seen.get()))
    seen.set(name)


async def leak_async(name: str) -> None:
    calls.append((name, seen.get()))
    seen.set(name)


def give_back(value: Any) -> Any:
    return value


def name_of_thread() -> str:
    return threading.current_thread().name


def name_of_process() -> str:
    return multiprocessing.current_process().name


_running = 0
_counting = threading.Lock()


def overlap() -> None:
    """Note how many runs of this function go on at this moment."""
    global _running  # noqa: PLW0603  what threads share
    with _counting:
        _running += 1
        calls.append(_running)
    threading.Event().wait(0.001)
    with _counting:
        _running -= 1


def unstorable() -> object:
    return threading.Lock()


def pause_me() -> None:
    """Pause the task `a` of the scheduler in `used`."""
    for scheduler in used:
        scheduler.pause_task("a")


used: list[Scheduler] = []


@contextmanager
def use(scheduler: Scheduler) -> Iterator[None]:
    """Lend a scheduler to the functions above."""
    used.append(scheduler)
    try:
        yield
    finally:
        used.remove(scheduler)


class Shop:
    closed = 0

    @staticmethod
    def open() -> None:
        calls.append("Shop.open")

    @classmethod
    def close(cls) -> None:
        calls.append(f"{cls.__name__}.close")

    def sell(self, what: str) -> None:
        calls.append(f"sold {what}")


class AsyncBell:
    async def __call__(self, how: str) -> None:
        calls.append(f"rang {how} in {threading.current_thread().name}")


shop = Shop()
bell = AsyncBell()
