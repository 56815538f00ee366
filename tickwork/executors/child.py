"""What happens in a process of the pool.

Only texts come in and go out: the reference of a function with its arguments as stored, and the
result as stored or an error as data. Nothing of the user's is ever pickled.
"""

import os
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, cast

from tickwork.executors.capture import capture, job_context
from tickwork.executors.guard import attempt
from tickwork.executors.outcomes import run_error
from tickwork.model.functions import resolve
from tickwork.model.injection import prepared
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState
from tickwork.model.provided import provided
from tickwork.model.values import decode_arguments, encode_result

if TYPE_CHECKING:
    from tickwork.executors.lines import ChildsEnd
    from tickwork.executors.spawning import Worker

__all__ = ["MARK", "Call", "Verdict", "run", "settle_in"]

MARK = "TICKWORK_POOL_CHILD"
"""The environment variable that is "1" in a process of the pool, where no scheduler may start."""


class Call(NamedTuple):
    """What a child needs to know of a job; `number` tells it apart from others of this life."""

    number: int
    reference: str
    payload: str
    run_id: str
    task_id: str
    attempt: int
    fire_us: int | None
    fence: int
    log_level: int


class Verdict(NamedTuple):
    """How an attempt ended in a child: plain data, cheap to send."""

    state: str
    result: str | None = None
    error: RunError | None = None
    note: str | None = None


class _ChildsJob(Job):
    """A job in a child; what it says of itself goes over the line."""

    __slots__ = ("_line", "_number", "_said", "_saying")

    def __init__(self, call: Call, line: "ChildsEnd") -> None:
        super().__init__(
            run_id=call.run_id,
            task_id=call.task_id,
            attempt=call.attempt,
            target=self._call,
            reference=call.reference,
            payload=call.payload,
            fire_us=call.fire_us,
            fence=call.fence,
        )
        self._number = call.number
        self._line = line
        self._said: str | None = None
        self._saying = Lock()

    def noted(self) -> None:
        # Never waited for here: whoever is sending, in another thread or, around a signal handler,
        # further up in this one, sends this too before it leaves.
        while self._has_news() and self._saying.acquire(blocking=False):
            try:
                self._say_news()
            finally:
                self._saying.release()

    def finish(self) -> None:
        """Send all that is left to be said, and that it is over."""
        with self._saying:
            self._say_news()
            self._line.say(self._number, "over")

    def _has_news(self) -> bool:
        return self.progress is not self._said or bool(self.log)

    def _say_news(self) -> None:
        progress = self.progress
        if progress is not None and progress is not self._said:
            self._said = progress
            self._line.say(self._number, "progress", progress)
        while self.log:
            self._line.say(self._number, "log", self.log.popleft())

    def _call(self) -> object:
        """Find the function and call it: all of that behind the guard, for it is user code."""
        function = resolve(self.reference)
        args, kwargs = decode_arguments(self.payload, function)
        filled = provided(function, args, kwargs, task_id=self.task_id, run_id=self.run_id)
        return prepared(function)(*args, **filled)


def settle_in() -> None:
    """Make this process known as one of the pool, and listen to what its jobs log."""
    os.environ[MARK] = "1"
    capture.hold(MARK)


def run(call: Call) -> Verdict:
    """Find the function, decode its arguments, run it and encode its result; never raises."""
    line = _line()
    if not line.may_begin(call.number):
        return Verdict(RunState.CANCELLED.value)
    job = _ChildsJob(call, line)
    # A context of its own, since the next job of this process must not see what this one sets.
    verdict = _verdict(job_context(call.log_level).run(attempt, job, lambda: 0))
    job.finish()
    return verdict


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.state is not RunState.COMPLETED:
        return Verdict(outcome.state.value, error=outcome.error)
    try:
        result, note = encode_result(outcome.result), None
    except BaseException as error:  # noqa: BLE001 - part of the guard: a result is user code too
        result, note = None, f"the result is not kept: {run_error(error).message}"
    return Verdict(outcome.state.value, result=result, note=note)


def _line() -> "ChildsEnd":
    from multiprocessing import current_process

    return cast("Worker", current_process()).line
