"""The run that the calling code belongs to, and what that run says of itself.

Executors set `current_job` to a job for the time of its attempt, in a context of its own; whatever
runs in that context or a copy of it (coroutines, tasks, `asyncio.to_thread`) belongs to the run.
What it says is kept in the job, as texts that every store takes, and the job is told each time.
"""

import json
from collections import deque
from collections.abc import Generator
from contextvars import ContextVar
from datetime import datetime
from numbers import Integral, Real
from threading import RLock

from tickwork.errors import InvalidInputError, SchedulerStateError
from tickwork.model.instants import from_us
from tickwork.model.jobs import Job

__all__ = [
    "LOG_LINES",
    "CurrentRun",
    "Done",
    "Noted",
    "add_line",
    "current_job",
    "current_run",
    "storable_text",
    "update_progress",
]

LOG_LINES = 200
"""How many of the last lines that a run logged are kept."""

_LARGEST = 2**63
_MESSAGE_LIMIT = 1_000

Done = float | tuple[float, float]
"""How much of its work a run has done: a percentage from 0 to 100, or (done, total)."""

current_job: ContextVar[Job] = ContextVar("tickwork_current_job")
"""The job whose attempt this context belongs to; set by executors, not set elsewhere."""

# A signal handler may log in the middle of it, in the same thread.
_first_line = RLock()


class CurrentRun:
    """The run that the calling code belongs to; made by `current_run`."""

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def id(self) -> str:
        """The id of the run."""
        return self._job.run_id

    @property
    def task_id(self) -> str:
        """The id of the task that it is a run of, or the name of submitted work."""
        return self._job.task_id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1 on."""
        return self._job.attempt

    @property
    def fire_time(self) -> datetime | None:
        """The fire time that it is for, in UTC; None for a run that isn't scheduled."""
        fire_us = self._job.fire_us
        return None if fire_us is None else from_us(fire_us)

    @property
    def fence(self) -> int:
        """A number to hand on to what must refuse late writers: it grows with each attempt."""
        return self._job.fence

    @property
    def cancelled(self) -> bool:
        """Whether the end of this run was asked for, or its time is over.

        A function in a thread can't be ended from outside; a long one looks here and returns.
        """
        return self._job.ending is not None

    @property
    def lost_lock(self) -> str | None:
        """What this run has lost, of the locks and the lead that it was let through for; or None.

        Another process may be doing the same work at this moment. Runs in processes aren't told.
        """
        return self._job.lost_lock

    def progress(self, done: Done, message: str | None = None) -> None:
        """Say how much is done: a percentage from 0 to 100, or a pair (done, total).

        Of the message the first 1,000 characters are kept. Calls are cheap, also thousands of them;
        the last one always arrives.

        Raises:
            InvalidInputError: the numbers make no sense; nothing was changed.
        """
        self._job.progress = _progress_text(done, message)
        self._job.noted()

    def __repr__(self) -> str:
        return f"<CurrentRun {self.id} of {self.task_id!r}, attempt {self.attempt}>"


class Noted:
    """What `update_progress` returns: it has happened already, and awaiting it takes no time."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def current_run() -> CurrentRun:
    """Return the run that the calling code belongs to.

    Raises:
        SchedulerStateError: it doesn't belong to one.
    """
    job = current_job.get(None)
    if job is None:
        message = (
            "there is no run around this call: it works in a task's function while a scheduler"
            " executes it, and in what that awaits, starts as asyncio tasks or calls by"
            " asyncio.to_thread; into a thread of your own take the context along, by"
            " Thread(target=contextvars.copy_context().run, args=(function,))"
        )
        raise SchedulerStateError(message)
    return CurrentRun(job)


def update_progress(done: Done, message: str | None = None) -> Noted:
    """Say how much the run around this call has done, as `CurrentRun.progress` does.

    For plain and for async code: it has happened when the call returns, and may be awaited.

    Raises:
        SchedulerStateError: there is no run around this call.
        InvalidInputError: the numbers make no sense; nothing was changed.
    """
    current_run().progress(done, message)
    return Noted()


def add_line(job: Job, line: str) -> None:
    """Add a line to a job's log, of which the last ones are kept; from any thread."""
    log = job.log
    if log is None:
        with _first_line:
            log = job.log = deque(maxlen=LOG_LINES) if job.log is None else job.log
    log.append(line)
    job.noted()


def storable_text(text: str) -> str:
    """Return a text without what databases don't take: lone surrogates and NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _progress_text(done: Done, message: str | None) -> str:
    data: dict[str, object]
    if isinstance(done, tuple | list):
        data = _counted(done)
    else:
        data = {"percent": float(_number(done, 100, "a percentage"))}
    if message is not None:
        if not isinstance(message, str):
            raise InvalidInputError(f"a message of progress must be a text, not {message!r:.100}")
        data["message"] = storable_text(message[:_MESSAGE_LIMIT])
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _counted(pair: tuple[object, ...] | list[object]) -> dict[str, object]:
    if len(pair) != 2:
        message = f"progress must be a percentage or a pair (done, total), not {pair!r:.100}"
        raise InvalidInputError(message)
    total = _number(pair[1], _LARGEST, "the total")
    done = _number(pair[0], total, "what is done")
    # Of nothing, nothing is done and everything: there is no percentage.
    percent = min(100.0, 100 * done / total) if total else None
    return {"percent": percent, "done": done, "total": total}


def _number(value: object, limit: float, name: str) -> float:
    """Return a number from 0 to `limit`, as an int where it is whole."""
    if not isinstance(value, bool) and isinstance(value, Real):
        number = int(value) if isinstance(value, Integral) else float(value)
        if 0 <= number <= limit:
            return number
    message = (
        f"{name} must be a number from 0 to {limit}, not {value!r:.100};"
        " say progress(40) for 40 %, or progress((2, 5)) for 2 of 5"
    )
    raise InvalidInputError(message)
