"""What examples get in the place of asyncio that only sleep by it."""

import asyncio as real
from types import SimpleNamespace

__all__ = ["asyncio"]


async def _sleep(_: float) -> None:
    await real.sleep(0)  # noqa: TID251  lets others have their turn, and takes no time


asyncio = SimpleNamespace(sleep=_sleep)
