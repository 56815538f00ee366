"""Functions that the tasks of these tests call, and what lets them go on."""

import asyncio
import logging
import threading

from tickwork import current_run

__all__ = ["charge_cards", "close_day", "rebuild_index", "send_report", "step", "wait_for_ever"]

logger = logging.getLogger("shop")

step = threading.Semaphore(0)
"""What each part of `rebuild_index` waits for."""


def close_day(city: str = "berlin", *, password: str = "") -> dict[str, str]:
    """Say what was closed."""
    logger.warning("closing the day in %s", city)
    return {"city": city, "state": "closed"}


def charge_cards() -> None:
    """Fail."""
    raise ValueError("card 4711 was refused by the bank")


def send_report() -> None:
    """Do nothing."""


def rebuild_index() -> str:
    """Do four parts, each when it is let."""
    for part in range(4):
        current_run().progress((part, 4), f"part {part + 1} of 4")
        logger.warning("part %d begins", part + 1)
        step.acquire(timeout=30)
    return "rebuilt"


async def wait_for_ever() -> None:
    """Wait until somebody ends it."""
    await asyncio.Event().wait()
