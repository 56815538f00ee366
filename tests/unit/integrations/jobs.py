"""Functions that the tests submit, and what they depend on."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

from fast_depends import Depends

from tickwork.errors import TaskError

waits = threading.Event()
"""Set when `endless` has begun to wait."""


def doubled(number: int) -> int:
    return number * 2


async def on_thread(wanted: int) -> bool:
    """Tell whether this runs on the thread whose number is wanted."""
    return threading.get_ident() == wanted


def noting(book: str, run_id: str) -> Iterator[Path]:
    """Write down in a file that a run has begun, and how it ended."""
    page = Path(book)
    _write(page, f"{run_id} begins")
    try:
        yield page
    except BaseException as error:
        _write(page, f"{run_id} ends with {type(error).__name__}")
        raise
    _write(page, f"{run_id} ends")


async def noting_on_loop(book: str, page: Annotated[Path, Depends(noting)]) -> AsyncIterator[Path]:
    try:
        yield page
    finally:
        await asyncio.to_thread(_write, Path(book), "the loop is done")


Page = Annotated[Path, Depends(noting)]
PageOnLoop = Annotated[Path, Depends(noting_on_loop)]


def counted(number: int, page: Page, task_id: str) -> list[object]:
    return [number, len(page.read_text().splitlines()), task_id, os.getpid()]


async def counted_on_loop(number: int, page: PageOnLoop, task_id: str) -> list[object]:
    return [number, len(page.read_text().splitlines()), task_id, os.getpid()]


def failing(page: Page) -> None:
    raise TaskError("full", "the book is full")


async def endless(page: PageOnLoop) -> None:
    waits.set()
    await asyncio.Event().wait()


def _write(page: Path, line: str) -> None:
    with page.open("a") as file:
        file.write(f"{line}\n")
