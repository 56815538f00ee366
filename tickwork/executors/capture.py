"""The log records that runs emit, kept as the last lines of each run's log.

They are caught where they are made, by a factory of records wrapped around the present one: a
handler on the root logger would make `logging.basicConfig` do nothing, and see no record of a
logger that doesn't propagate. So a run's log has what its loggers let through, whatever becomes of
it elsewhere. The factory belongs to the whole process, as `logging` does; it is there as long as
any executor is open, and restored then, unless another library has wrapped it in the meantime: ours
does nothing any more in there.
"""

import contextlib
import contextvars
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from tickwork.model.current import add_line, current_job, storable_text

__all__ = ["LogCapture", "capture", "job_context"]

_LINE_LIMIT = 1_000

_level: contextvars.ContextVar[int] = contextvars.ContextVar("tickwork_log_level", default=0)


def job_context(log_level: int) -> contextvars.Context:
    """Return a copy of the calling context, to be copied for each job.

    Records below `log_level` are not captured there.
    """
    context = contextvars.copy_context()
    context.run(_level.set, log_level)
    return context


class LogCapture:
    """Whether log records are captured in this process: while anybody holds it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._holders: set[object] = set()
        self._factory: _Factory | None = None

    def hold(self, holder: object) -> None:
        """Capture log records until all who hold it have let go."""
        with self._lock:
            self._holders.add(holder)
            if self._factory is None:
                self._factory = _Factory(logging.getLogRecordFactory())
                logging.setLogRecordFactory(self._factory)

    def let_go(self, holder: object) -> None:
        """Do without; the last one restores what was there before."""
        with self._lock:
            self._holders.discard(holder)
            if self._holders or self._factory is None:
                return
            factory, self._factory = self._factory, None
            factory.captures = False
            if logging.getLogRecordFactory() is factory:
                logging.setLogRecordFactory(factory.inner)

    def forsake(self, holder: object) -> None:
        """Let go in a process that was forked, where the lock may be held by nobody who is left."""
        self._lock = Lock()
        self.let_go(holder)


capture = LogCapture()
"""The one of this process; it is as global as the factory of `logging`."""


class _Factory:
    """Makes records by another factory, and captures those of runs."""

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner
        self.captures = True

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.inner(*args, **kwargs)
        if self.captures:
            # Formatting is user code: what goes wrong there costs the line, never the task.
            with contextlib.suppress(Exception):
                _capture(record)
        return record


def _capture(record: logging.LogRecord) -> None:
    job = current_job.get(None)
    # `logging.makeLogRecord` makes empty ones first, without a name or a level.
    if job is None or not record.name or record.levelno < _level.get():
        return
    if record.name.partition(".")[0] != "tickwork":
        add_line(job, _line(record))


def _line(record: logging.LogRecord) -> str:
    """Return a record as text: at most 1,000 characters, and as many of its exception's end."""
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    head = f"{moment.removesuffix('+00:00')}Z {record.levelname} {record.name}: "
    line = storable_text(f"{head}{_message(record)}"[:_LINE_LIMIT])[:_LINE_LIMIT]
    if not record.exc_info or record.exc_info[1] is None:
        return line
    text = "".join(traceback.format_exception(record.exc_info[1], limit=-20)).rstrip()
    return f"{line}\n{storable_text(text[-_LINE_LIMIT:])[-_LINE_LIMIT:]}"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as problem:  # noqa: BLE001 - user code: arguments that don't fit, or can't speak
        return f"{record.msg!s} <its arguments can't be shown: {type(problem).__name__}>"
