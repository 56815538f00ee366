"""From whatever a task raised to data that is safe to store.

An exception is user code too: its `__str__` may raise, its text may be endless or not even be text
that a database takes, its details may be anything. Nothing of that may cost more than a readable
message, so each piece is made on its own and replaced by a remark where it can't be made.
"""

import asyncio
import json
import os
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from tickwork.errors import TaskError
from tickwork.model.current import storable_text
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState

__all__ = ["failure", "never_begun", "run_error", "state_after"]

_MESSAGE_LIMIT = 10_000
_TRACEBACK_LIMIT = 20_000
_FRAMES = 200

_NEVER_BEGUN = RunError("asyncio.exceptions.CancelledError", "cancelled before it could start")

_ROOTS = (BaseException, object)

_OURS = tuple(f"{Path(file).parent}{os.sep}" for file in (__file__, asyncio.__file__))


def run_error(error: BaseException) -> RunError:
    """Return an exception as data; never raises.

    The message holds at most 10,000 characters, the traceback the last 20,000 and 200 frames,
    without those above the task's own code. `code` and `details` are those of a `TaskError`;
    details that aren't JSON are given as their `repr`.
    """
    code: str | None = None
    details: dict[str, Any] | None = None
    message = _text(lambda: str(error))
    if isinstance(error, TaskError):
        # A subclass may have forgotten `super().__init__`; then it is as good as any exception.
        code = _text(lambda: str(error.code)) if hasattr(error, "code") else None
        details = _json_object(getattr(error, "details", {}))
        message = _text(lambda: str(getattr(error, "message", error)))
    return RunError(
        type=_type_name(type(error)),
        message=message[:_MESSAGE_LIMIT],
        traceback=_text(lambda: _formatted(error))[-_TRACEBACK_LIMIT:],
        code=code,
        details=details,
        kinds=_kinds(type(error)),
    )


def state_after(error: BaseException) -> RunState:
    """Return the state of a run whose function raised `error`."""
    if isinstance(error, asyncio.CancelledError):
        return RunState.CANCELLED
    return RunState.FAILED


def failure(job: Job, error: RunError, now_us: int, state: RunState = RunState.FAILED) -> Outcome:
    """Return the outcome of a job that an executor had to end by itself, at `now_us`.

    Its `started_us` is 0 if it never began.
    """
    return Outcome(job, state, job.started_us, now_us, error=error)


def never_begun(job: Job, now_us: int) -> Outcome:
    """Return the outcome of a job that was cancelled while it waited to be started."""
    return Outcome(job, RunState.CANCELLED, 0, now_us, error=_NEVER_BEGUN)


def _kinds(kind: type[BaseException]) -> tuple[str, ...]:
    """Return the names of the classes of an exception, without those that say nothing."""
    return tuple(_type_name(each) for each in kind.__mro__ if each not in _ROOTS)


def _type_name(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(make: Callable[[], str]) -> str:
    """Return a text that every store can keep, or a remark where user code can't even make one."""
    try:
        text = make()
    except BaseException as problem:  # noqa: BLE001 - part of the guard: `__str__` is user code
        return f"<no text: it raised {type(problem).__name__}>"
    return storable_text(text)


def _formatted(error: BaseException) -> str:
    report = traceback.TracebackException(
        type(error), error, _without_ours(error.__traceback__), limit=-_FRAMES, compact=True
    )
    return "".join(report.format())


def _without_ours(frames: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame on that isn't an executor's or an event loop's."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return frames


def _json_object(details: object) -> dict[str, Any]:
    if not isinstance(details, Mapping):
        return {"details": _json_value(details)}
    return {_text(partial(str, key)): _json_value(value) for key, value in details.items()}


def _json_value(value: object) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except Exception:  # noqa: BLE001 - part of the guard: whatever is wrong with it, its repr will do
        return _text(lambda: repr(value))
