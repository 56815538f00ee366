"""Telling what happened: one log line per outcome, and events for those who listen."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tickwork.model.events import (
    Event,
    RunCancelled,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunLost,
    RunMissed,
    RunRetrying,
    RunSkipped,
    RunStarted,
    RunTakenOver,
    RunTimedOut,
)
from tickwork.model.instants import SECOND, from_us
from tickwork.model.jobs import Outcome
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import Finished, GivenBack
from tickwork.model.values import decode_result
from tickwork.scheduler.awaiting import Awaited
from tickwork.scheduler.held import Held
from tickwork.scheduler.listeners import Listeners

__all__ = ["Announcer"]

logger = logging.getLogger("tickwork.runs")

_EVENTS: dict[RunState, type[RunEvent]] = {
    RunState.PENDING: RunTakenOver,
    RunState.COMPLETED: RunCompleted,
    RunState.FAILED: RunFailed,
    RunState.CANCELLED: RunCancelled,
    RunState.TIMEOUT: RunTimedOut,
    RunState.MISSED: RunMissed,
    RunState.SKIPPED: RunSkipped,
    RunState.LOST: RunLost,
}
_LEVELS = {
    RunState.COMPLETED: logging.DEBUG,
    RunState.CANCELLED: logging.INFO,
    RunState.SKIPPED: logging.INFO,
}


class Announcer:
    """Tells what happens to the runs of one store."""

    def __init__(
        self, store: str, listeners: Listeners, awaited: Awaited, now_us: Callable[[], int]
    ) -> None:
        self.store = store
        self._listeners = listeners
        self._awaited = awaited
        self._now_us = now_us

    def is_quiet(self) -> bool:
        """Whether nobody wants to know of runs that ended well."""
        return not (
            self._awaited
            or logger.isEnabledFor(logging.DEBUG)
            or self._listeners.wants(RunCompleted)
        )

    def _ended(self, run_id: str) -> None:
        if self._awaited:
            self._awaited.ended(run_id)

    def wants_starts(self) -> bool:
        """Whether anybody wants to be told of starts."""
        return self._listeners.wants(RunStarted)

    def emit(self, kind: type[Event], **details: Any) -> None:
        """Tell listeners of a kind of event, if there are any."""
        if self._listeners.wants(kind):
            self._listeners.tell(kind(at=from_us(self._now_us()), **details))

    def started(self, held: Held) -> None:
        """Tell that a run was handed to its executor."""
        if self._listeners.wants(RunStarted):
            self._listeners.tell(RunStarted(at=from_us(self._now_us()), **self._of_held(held)))

    def finished(self, held: Held, outcome: Outcome, finished: Finished) -> None:
        """Tell how a run ended."""
        state = finished.state
        self._ended(held.run_id)
        kind = _EVENTS[state]
        level = _LEVELS.get(state, logging.WARNING)
        if state is RunState.SKIPPED:
            # Another process executes it: that is as it should be, and happens all the time.
            level = logging.DEBUG
        error = _error(held, outcome, state)
        if logger.isEnabledFor(level):
            self._log(level, state.value, held, outcome, error or finished.reason)
        if self._listeners.wants(kind):
            self._listeners.tell(
                kind(
                    at=from_us(outcome.finished_us),
                    result=_result(outcome) if state is RunState.COMPLETED else None,
                    error=error,
                    reason=finished.reason,
                    **_times(held, outcome),
                    **self._of_held(held),
                )
            )

    def retried(self, held: Held, outcome: Outcome, back: GivenBack) -> None:
        """Tell that an attempt failed, and when the run will be tried again."""
        error = _error(held, outcome, held.ending or outcome.state)
        self._log(logging.WARNING, "to be tried again", held, outcome, error)
        if self._listeners.wants(RunRetrying):
            self._listeners.tell(
                RunRetrying(
                    at=from_us(outcome.finished_us),
                    error=error,
                    reason=back.reason,
                    next_attempt_at=from_us(back.available_us),
                    **_times(held, outcome),
                    **self._of_held(held),
                )
            )

    def still_running(self, held: Held) -> None:
        """Tell that a run goes on that should have ended, and will be tried again when it has."""
        logger.warning(
            "run of %s %s; it can't be ended, and still runs",
            held.task_id,
            held.why,
            extra=self._named(held),
        )

    def recorded(self, run: RunRecord) -> None:
        """Tell of a run that isn't executed (now): missed, skipped, lost or taken over."""
        kind = _EVENTS.get(run.state)
        if run.state is not RunState.PENDING:
            self._ended(run.id)
        if kind is None or (run.state is RunState.PENDING and not run.attempt):
            return
        level = _LEVELS.get(run.state, logging.WARNING)
        word = "taken over" if run.state is RunState.PENDING else run.state.value
        fire_time = _fire_time(run)
        fields = {
            "task_id": run.task_id,
            "run_id": run.id,
            "fire_time": fire_time,
            "attempt": run.attempt,
            "store": self.store,
        }
        logger.log(
            level, "run %s: %s (%s)", word, run.task_id, run.reason or "its node died", extra=fields
        )
        if self._listeners.wants(kind):
            self._listeners.tell(
                kind(
                    at=from_us(self._now_us()),
                    run_id=run.id,
                    store=self.store,
                    task_id=run.task_id,
                    attempt=run.attempt,
                    fire_time=fire_time,
                    fire_count=run.fire_count,
                    reason=run.reason,
                )
            )

    def lease_lost(self, held: Held) -> None:
        """Tell that the outcome of a run came too late to count."""
        logger.warning(
            "outcome discarded: the lease of a run of %s was lost",
            held.task_id,
            extra=self._named(held),
        )

    def _named(self, held: Held) -> dict[str, Any]:
        return {
            "task_id": held.task_id,
            "run_id": held.run_id,
            "attempt": held.attempt,
            "store": self.store,
        }

    def _log(  # noqa: PLR0917  what a line says
        self, level: int, what: str, held: Held, outcome: Outcome, why: str | None
    ) -> None:
        due_us = held.run.due_us
        late_us = outcome.started_us - due_us if due_us and outcome.started_us else 0
        logger.log(
            level,
            "run %s: %s%s",
            what,
            held.task_id,
            f" ({why})" if why else "",
            extra={
                **self._named(held),
                "fire_time": _fire_time(held.run),
                "late_s": late_us / SECOND,
            },
        )

    def _of_held(self, held: Held) -> dict[str, Any]:
        return {
            "run_id": held.run_id,
            "task_id": held.task_id,
            "store": self.store,
            "attempt": held.attempt,
            "fire_time": _fire_time(held.run),
            "fire_count": held.run.fire_count,
        }


def _error(held: Held, outcome: Outcome, state: RunState) -> str | None:
    """Return what went wrong: that its end was asked for is a reason, no error."""
    if state is held.ending:
        return held.why if state is RunState.TIMEOUT else None
    return f"{outcome.error.type}: {outcome.error.message}" if outcome.error else None


def _times(held: Held, outcome: Outcome) -> dict[str, Any]:
    """Return when an attempt began and how long it took, as events tell it."""
    began_us, due_us = outcome.started_us, held.run.due_us
    if not began_us:
        return {}
    late_us = None if due_us is None else began_us - due_us
    return {
        "lateness": None if late_us is None else late_us / SECOND,
        "duration": (outcome.finished_us - began_us) / SECOND,
    }


def _result(outcome: Outcome) -> Any:
    encoded = outcome.encoded and outcome.result is not None
    return decode_result(outcome.result) if encoded else outcome.result


def _fire_time(run: RunRecord) -> datetime | None:
    return None if run.fire_us is None else from_us(run.fire_us)
