"""What the jobs of the contract do; at the top of a module, for some executors must import it."""

import asyncio
import logging
from contextvars import ContextVar

from tickwork.errors import TaskError
from tickwork.model.current import current_run, update_progress
from tickwork.testing.executor_contract.gate import stand_at_gate_later

__all__ = [
    "LOGGER",
    "Unspeakable",
    "add",
    "add_later",
    "count_up",
    "count_up_later",
    "describe",
    "describe_later",
    "fail",
    "fail_later",
    "log_each_level",
    "log_lines",
    "look_and_leave",
    "look_and_leave_later",
    "speak_at_gate",
]

LOGGER = "contract"

_seen: ContextVar[str] = ContextVar("seen", default="nothing")


def add(left: int, right: int = 0) -> int:
    """Return a sum."""
    return left + right


async def add_later(left: int, right: int = 0) -> int:
    """Return a sum, some turns of the event loop later."""
    for _ in range(3):
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, no time passes
    return left + right


def look_and_leave(word: str) -> str:
    """Return what the context holds and leave something there."""
    found = _seen.get()
    _seen.set(word)
    return found


async def look_and_leave_later(word: str) -> str:
    """Return what the context holds after others had their turn, and leave something there."""
    await add_later(0)
    return look_and_leave(word)


class Unspeakable(Exception):  # noqa: N818 - a name to be found in a message
    """An error that can't even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail(how: str) -> None:
    """Raise what is asked for."""
    errors: dict[str, BaseException] = {
        "value": ValueError("wrong \0 \ud800"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "unspeakable": Unspeakable(),
        "task": TaskError("no_stock", "sold out", {"left": 0, "odd": {1, 2}}),
        "cancelled": asyncio.CancelledError(),
        "stop_iteration": StopIteration(1),
    }
    raise errors[how]


async def fail_later(how: str) -> None:
    """Raise what is asked for, some turns of the event loop later."""
    await add_later(0)
    fail(how)


def describe() -> list[object]:
    """Return what the run around this call knows of itself."""
    run = current_run()
    fire_time = None if run.fire_time is None else run.fire_time.isoformat()
    return [run.id, run.task_id, run.attempt, fire_time, run.fence, run.cancelled]


async def _describe_soon() -> list[object]:
    await add_later(0)
    return describe()


async def describe_later() -> list[list[object]]:
    """Return what the run knows of itself here, in what is awaited, in a task and in a thread."""
    task = asyncio.create_task(_describe_soon())
    return [
        describe(),
        await _describe_soon(),
        await task,
        await asyncio.to_thread(describe),
    ]


def count_up(total: int) -> None:
    """Say each step of the progress."""
    for number in range(1, total + 1):
        update_progress((number, total), f"step {number}")


async def count_up_later(total: int) -> None:
    """Say each step of the progress, in turns of the event loop."""
    for number in range(1, total + 1):
        await update_progress((number, total), f"step {number}")
        if number % 100 == 0:
            await add_later(0)


def log_lines(count: int) -> None:
    """Log numbered lines, and one of tickwork's own."""
    for number in range(count):
        logging.getLogger(LOGGER).warning("line %d", number)
    logging.getLogger("tickwork.contract").warning("not the task's")


def log_each_level() -> None:
    """Log a line of each level."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.DEBUG)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(level, "a line")


async def speak_at_gate(port: int) -> str:
    """Say something, then stand at a gate."""
    update_progress((1, 2), "half")
    logging.getLogger(LOGGER).warning("at the %s", "gate")
    return await stand_at_gate_later(port)
