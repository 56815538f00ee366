"""The functions that tasks of the cluster tests call, importable by every process."""

import asyncio
import os
import signal
import threading
from pathlib import Path

__all__ = ["poison", "stand_once", "stand_once_async", "work", "work_async"]

_LONGEST_S = 600.0


def work(seconds: float = 0.0) -> None:
    """Take so long, in a thread."""
    if seconds:
        threading.Event().wait(seconds)


async def work_async(seconds: float = 0.0) -> None:
    """Take so long, on the event loop."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


def stand_once(mark: str) -> None:
    """Stand still at the first call for a `mark` (a file), whoever makes it; return at others."""
    if _is_first(mark):
        threading.Event().wait(_LONGEST_S)


async def stand_once_async(mark: str) -> None:
    """Do the same on the event loop."""
    if _is_first(mark):
        await asyncio.Event().wait()


def _is_first(mark: str) -> bool:
    try:
        Path(mark).open("x").close()
    except FileExistsError:
        return False
    return True


def poison() -> None:
    """Take the whole process down, as a crash of native code or the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)
