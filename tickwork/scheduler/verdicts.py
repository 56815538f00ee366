"""What is written of an attempt that has ended: the run is over, or it will be tried again.

A failed attempt is tried again as long as `retries` are left and its error is one to be tried
again for. A time-out counts as a failure by `TimeoutError`. What was to be cancelled is never tried
again. An attempt that completed in the moment in which it was to be ended has completed; but what
was reported as timed out, in a thread that nobody can end, stays so, whatever it returns.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from tickwork.model.current import LOG_LINES
from tickwork.model.definition import Definition
from tickwork.model.instants import SECOND, from_us
from tickwork.model.jobs import Outcome, RunError
from tickwork.model.policies import Delivery, Keep, RunState
from tickwork.model.steps import Finished, GivenBack, Note
from tickwork.model.values import encode_result
from tickwork.scheduler.guard import guarded
from tickwork.scheduler.held import Held

__all__ = [
    "cancelled_before",
    "concluded",
    "failed",
    "left_over",
    "lingering",
    "note_of",
    "refused",
    "retry_wait_us",
    "returned",
]

# Looked up for each run; see `tickwork.model.records`.
_COMPLETED, _ALL = RunState.COMPLETED, Keep.ALL

_TIMED_OUT = ("TimeoutError", "OSError", "Exception")
_RETRIED = frozenset({RunState.FAILED, RunState.TIMEOUT})
_SPREAD = 2**32
_LOOK_US = 10 * SECOND
"""How long a run that isn't to be kept can still be looked at."""


def concluded(held: Held, outcome: Outcome) -> Finished | GivenBack:
    """Return what to write about an attempt that has ended."""
    if outcome.state is _COMPLETED and not held.overdue:
        result, reason = None, None
        if outcome.encoded or outcome.result is not None:
            result, reason = _result_text(outcome)
        return _finished(held, _COMPLETED, outcome, result=result, reason=reason)
    state = outcome.state if held.ending is None else held.ending
    error = _error(held, outcome, state)
    errors = None if error is None else _with_error(held, error, outcome.finished_us)
    if error is not None and state in _RETRIED and _may_retry(held, error):
        return GivenBack(
            held.run_id,
            held.fence,
            outcome.finished_us + retry_wait_us(held.definition, held.run_id, held.run.failures),
            started=True,
            error=errors,
            reason=f"attempt {held.attempt} failed, to be tried again: {_told(error)}",
        )
    reason = held.why or None if state is held.ending else None
    return _finished(held, state, outcome, errors=errors, reason=reason)


def _error(held: Held, outcome: Outcome, state: RunState) -> RunError | None:
    if state is not held.ending:
        return outcome.error
    if state is RunState.TIMEOUT:
        return RunError("Timeout", held.why, kinds=_TIMED_OUT)
    # That it was cancelled says it all; what went wrong while it cleaned up doesn't show otherwise.
    return outcome.error if outcome.state is RunState.FAILED else None


def _may_retry(held: Held, error: RunError) -> bool:
    definition = held.definition
    if held.run.failures >= definition.retries:
        return False
    kinds = {error.type, *error.kinds}
    if not kinds.isdisjoint(definition.give_up_on):
        return False
    return not definition.retry_on or not kinds.isdisjoint(definition.retry_on)


def retry_wait_us(definition: Definition, run_id: str, failures: int) -> int:
    """Return how long to wait before a run is tried again that has failed so often before.

    The jitter is the same for the same run and failure, so that a repeated write says the same.
    """
    try:
        wait_us = int(definition.retry_delay_us * definition.backoff**failures)
    except OverflowError:
        wait_us = 2**62
    if definition.max_delay_us is not None:
        wait_us = min(wait_us, definition.max_delay_us)
    if definition.retry_jitter_us:
        digest = blake2b(f"{run_id} {failures}".encode(), digest_size=4).digest()
        wait_us += int.from_bytes(digest) * definition.retry_jitter_us // _SPREAD
    return min(wait_us, 1_000 * 366 * 86_400 * SECOND)


def _finished(
    held: Held,
    state: RunState,
    outcome: Outcome,
    *,
    result: str | None = None,
    errors: str | None = None,
    reason: str | None = None,
) -> Finished:
    definition = held.definition
    if held.passage is not None and outcome.started_us:
        held.note_loss()
    if held.lost_lock is not None:
        reason = f"{reason}; {held.lost_lock}" if reason else held.lost_lock
    expires = definition.keep is not _ALL or definition.result_ttl_us is not None
    return Finished(
        held.run_id,
        held.task_id,
        held.run.generation,
        held.fence,
        state,
        outcome.started_us or None,
        outcome.finished_us,
        result,
        errors,
        reason,
        definition.fixed_delay or definition.pause_after_failures is not None,
        False,
        _expires_us(definition, state, outcome.finished_us) if expires else None,
    )


def _expires_us(definition: Definition, state: RunState, finished_us: int) -> int | None:
    """Return from when on a run needn't be kept, where its definition has a word on that.

    Not before those who wait for its end have had a chance to look.
    """
    unwanted = definition.keep is Keep.FAILURES and state is RunState.COMPLETED
    if unwanted or definition.keep is Keep.NONE:
        return finished_us + _LOOK_US
    if definition.result_ttl_us is None:
        return None
    return finished_us + max(definition.result_ttl_us, _LOOK_US)


def _result_text(outcome: Outcome) -> tuple[str | None, str | None]:
    if outcome.encoded:
        return outcome.result, outcome.note
    encoded = guarded(lambda: encode_result(outcome.result))
    if encoded.error is not None:
        return None, f"the result is not kept: {encoded.error}"
    return encoded.value, None


def _with_error(held: Held, error: RunError, at_us: int) -> str:
    earlier: list[Any] = json.loads(held.run.errors) if held.run.errors else []
    entry = {key: value for key, value in error._asdict().items() if value and key != "kinds"}
    return json.dumps(
        [*earlier, {"attempt": held.attempt, "at": from_us(at_us).isoformat(), **entry}]
    )


def _told(error: RunError) -> str:
    return f"{error.type}: {error.message}"[:200]


def note_of(held: Held, *, log: bool) -> Note | None:
    """Return what a run said of itself, as it is written; None where that is nothing."""
    if held.progress is None and not (log and held.log):
        return None
    text = None
    if log and held.log is not None:
        earlier: list[str] = json.loads(held.run.log) if held.run.log else []
        text = json.dumps([*earlier, *held.log.copy()][-LOG_LINES:])
    return Note(held.run_id, held.fence, held.progress, text)


def lingering(held: Held, now_us: int, offset_us: int) -> Finished | None:
    """Return what to write of an attempt that is to be ended and can't be.

    None where it will be tried again: that must wait until it has really ended.
    """
    state = held.ending or RunState.CANCELLED
    error = None
    if state is RunState.TIMEOUT:
        error = RunError("Timeout", held.why, kinds=_TIMED_OUT)
        if _may_retry(held, error):
            return None
    errors = None if error is None else _with_error(held, error, now_us)
    outcome = Outcome(held, state, held.started_us + offset_us, now_us)
    reason = f"{held.why}; it can't be ended, and still runs"
    entry = _finished(held, state, outcome, errors=errors, reason=reason)
    return entry._replace(lingers=True)


def returned(held: Held, outcome: Outcome) -> Finished:
    """Return what to write of an attempt that was over for the others, and has ended now."""
    finished_us, why = held.lingers_as or (outcome.finished_us, held.why)
    took_s = (outcome.finished_us - (outcome.started_us or outcome.finished_us)) / SECOND
    reason = f"{why}; it couldn't be ended, and returned after {took_s:.3f} s"
    first = outcome._replace(finished_us=finished_us)
    return _finished(held, held.ending or RunState.CANCELLED, first, reason=reason)


def cancelled_before(held: Held, now_us: int) -> Finished:
    """Return what to write of a run whose end was asked for before it was started."""
    state = RunState.SKIPPED if held.ending is RunState.SKIPPED else RunState.CANCELLED
    return _finished(held, state, Outcome(held, state, 0, now_us), reason=held.why)


def refused(held: Held, why: str, now_us: int) -> Finished:
    """Return what to write of a run that isn't executed by this process."""
    return _finished(held, RunState.SKIPPED, Outcome(held, RunState.SKIPPED, 0, now_us), reason=why)


def failed(held: Held, error: BaseException | None, now_us: int) -> Finished:
    """Return what to write about a run that could not even be started."""
    entry = RunError(type(error).__name__, f"it could not be started: {error}")
    outcome = Outcome(held, RunState.FAILED, 0, now_us)
    return _finished(held, RunState.FAILED, outcome, errors=_with_error(held, entry, now_us))


def left_over(held: Held, now_us: int, offset_us: int) -> Finished | GivenBack:
    """Return what becomes of a run that was ended in the middle because its scheduler stopped.

    `offset_us` is the offset of the clock by which it was started from the store's.
    """
    started_us = held.started_us + offset_us if held.started_us else 0
    outcome = Outcome(held, RunState.CANCELLED, started_us, now_us)
    if held.lingers_as is not None:
        return returned(held, outcome)
    if held.ending is not None:
        return concluded(held, outcome)
    reason = "its scheduler was stopped in the middle of it"
    if held.definition.delivery is Delivery.AT_LEAST_ONCE:
        return GivenBack(held.run_id, held.fence, now_us, started=True, reason=reason)
    outcome = Outcome(held, RunState.LOST, started_us, now_us)
    reason = f"{reason}, and its delivery is at_most_once"
    return _finished(held, RunState.LOST, outcome, reason=reason)
