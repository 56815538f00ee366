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
    RunSkipped,
    RunStarted,
    RunTakenOver,
    RunTimedOut,
)
from tickwork.model.instants import SECOND, from_us
from tickwork.model.jobs import Outcome
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.values import decode_result
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

    def __init__(self, store: str, listeners: Listeners, now_us: Callable[[], int]) -> None:
        self.store = store
        self._listeners = listeners
        self._now_us = now_us

    def is_quiet(self) -> bool:
        """Whether nobody wants to know of runs that ended well."""
        return not (logger.isEnabledFor(logging.DEBUG) or self._listeners.wants(RunCompleted))

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

    def finished(self, held: Held, outcome: Outcome, reason: str | None) -> None:
        """Tell how an attempt ended."""
        state = outcome.state
        kind = _EVENTS[state]
        level = _LEVELS.get(state, logging.WARNING)
        error = f"{outcome.error.type}: {outcome.error.message}" if outcome.error else None
        if logger.isEnabledFor(level):
            self._log(level, held, outcome, error or reason)
        if self._listeners.wants(kind):
            self._listeners.tell(
                kind(
                    at=from_us(outcome.finished_us),
                    result=_result(outcome),
                    error=error,
                    reason=reason,
                    **self._of_held(held),
                )
            )

    def recorded(self, run: RunRecord) -> None:
        """Tell of a run that isn't executed (now): missed, skipped, lost or taken over."""
        kind = _EVENTS.get(run.state)
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
            extra={"task_id": held.task_id, "run_id": held.run_id, "attempt": held.attempt},
        )

    def _log(self, level: int, held: Held, outcome: Outcome, why: str | None) -> None:
        due_us = held.run.due_us
        late_us = outcome.started_us - due_us if due_us and outcome.started_us else 0
        logger.log(
            level,
            "run %s: %s%s",
            outcome.state.value,
            held.task_id,
            f" ({why})" if why else "",
            extra={
                "task_id": held.task_id,
                "run_id": held.run_id,
                "fire_time": _fire_time(held.run),
                "attempt": held.attempt,
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


def _result(outcome: Outcome) -> Any:
    encoded = outcome.encoded and outcome.result is not None
    return decode_result(outcome.result) if encoded else outcome.result


def _fire_time(run: RunRecord) -> datetime | None:
    return None if run.fire_us is None else from_us(run.fire_us)
