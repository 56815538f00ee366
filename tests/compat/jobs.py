"""Functions that stores can refer to by name."""

import asyncio
from typing import Any

__all__ = ["add", "blink", "calls", "fail", "tick"]

calls: list[Any] = []


def tick(*args: Any) -> None:
    calls.append(args)


def add(a: int, b: int = 1) -> int:
    return a + b


def fail() -> None:
    raise ValueError("no luck")


async def blink() -> str:
    await asyncio.sleep(0)  # noqa: TID251  lets others have their turn
    return "on the loop"
