"""Functions that the tests of metrics and traces have executed."""

import asyncio
import os
import threading

from opentelemetry import trace

begun = threading.Semaphore(0)
"""Released once each time that `waiting` begins."""

go_on = threading.Event()
"""What `waiting` waits for."""


def nothing() -> None:
    """Do nothing, which takes no time."""


def failing(number: int = 0) -> float:
    return 1 / number


def waiting() -> None:
    begun.release()
    go_on.wait(10)


def seen() -> list[str]:
    """Return the trace and the span that are current here."""
    return _seen()


async def seen_on_loop() -> list[str]:
    await asyncio.sleep(0)  # noqa: TID251  no time passes: others get their turn
    return _seen()


async def endless() -> None:
    await asyncio.Event().wait()


def seen_elsewhere(word: str, run_id: str) -> list[str]:
    return [*_seen(), word, run_id, str(os.getpid())]


def _seen() -> list[str]:
    context = trace.get_current_span().get_span_context()
    return [f"{context.trace_id:032x}", f"{context.span_id:016x}"]
