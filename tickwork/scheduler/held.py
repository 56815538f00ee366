"""The runs that a loop has leased and not yet written back."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tickwork.model.definition import Definition
from tickwork.model.instants import from_us
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import Delivery, RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import Finished, GivenBack
from tickwork.model.values import encode_result
from tickwork.scheduler.guard import guarded

if TYPE_CHECKING:
    from tickwork.scheduler.loop import StoreLoop

__all__ = ["Held", "concluded", "failed", "left_over"]


@dataclass(slots=True, eq=False)
class Held:
    """A leased run in this process. What the lease allows is fixed when it is received."""

    loop: "StoreLoop"
    run_id: str
    task_id: str
    generation: int
    fence: int
    attempt: int
    definition: Definition
    suspect: bool
    fire_us: int | None
    due_us: int | None
    fire_count: int
    errors: str | None
    job: Job | None = None
    marked: bool = False

    @classmethod
    def of(cls, loop: "StoreLoop", run: RunRecord, definition: Definition) -> "Held":
        """Return what there is to know about a run that was just leased."""
        return cls(
            loop,
            run.id,
            run.task_id,
            run.generation,
            run.fence,
            run.attempt,
            definition,
            run.suspect,
            run.fire_us,
            run.due_us,
            run.fire_count,
            run.errors,
        )


def concluded(held: Held, outcome: Outcome) -> Finished:
    """Return what to write about an attempt that has ended."""
    result = reason = errors = None
    if outcome.error is not None:
        errors = _with_error(held, outcome.error, outcome.finished_us)
    if outcome.state is RunState.COMPLETED:
        result, reason = _result_text(outcome)
    return Finished(
        held.run_id,
        held.task_id,
        held.generation,
        held.fence,
        outcome.state,
        outcome.started_us or None,
        outcome.finished_us,
        result,
        errors,
        reason,
        held.definition.fixed_delay,
    )


def _result_text(outcome: Outcome) -> tuple[str | None, str | None]:
    if outcome.encoded:
        return outcome.result, outcome.note
    if outcome.result is None:
        return None, None
    encoded = guarded(lambda: encode_result(outcome.result))
    if encoded.error is not None:
        return None, f"the result could not be stored: {encoded.error}"
    return encoded.value, None


def _with_error(held: Held, error: RunError, at_us: int) -> str:
    earlier: list[Any] = json.loads(held.errors) if held.errors else []
    entry = {key: value for key, value in error._asdict().items() if value}
    return json.dumps(
        [*earlier, {"attempt": held.attempt, "at": from_us(at_us).isoformat(), **entry}]
    )


def failed(held: Held, error: BaseException, now_us: int) -> Finished:
    """Return what to write about a run that could not even be started."""
    kind = type(error).__name__
    entry = RunError(kind, f"it could not be started: {error}")
    return Finished(
        held.run_id,
        held.task_id,
        held.generation,
        held.fence,
        RunState.FAILED,
        None,
        now_us,
        errors=_with_error(held, entry, now_us),
        follows=held.definition.fixed_delay,
    )


def left_over(held: Held, now_us: int) -> Finished | GivenBack:
    """Return what becomes of a run that was ended in the middle because its scheduler stopped."""
    reason = "its scheduler was stopped in the middle of it"
    if held.definition.delivery is Delivery.AT_LEAST_ONCE:
        return GivenBack(held.run_id, held.fence, now_us, started=True, reason=reason)
    started_us = held.job.started_us if held.job else None
    return Finished(
        held.run_id,
        held.task_id,
        held.generation,
        held.fence,
        RunState.LOST,
        started_us,
        now_us,
        reason=f"{reason}, and its delivery is at_most_once",
        follows=held.definition.fixed_delay,
    )
