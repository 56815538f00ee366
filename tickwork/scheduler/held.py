"""A leased run in this process, and what is written about it in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
    from tickwork.scheduler.holding import Holding

__all__ = ["Held", "concluded", "failed", "left_over"]


class Held(Job):
    """A job that knows its lease: the run as it was leased, and the fence to write under.

    `run` is read only; a memory store shares it, and `fence` is what it was when it was leased.
    """

    __slots__ = ("definition", "fence", "holding", "marked", "received_us", "run")

    def __init__(  # noqa: PLR0917  one a run: keywords would cost more than the rest
        self,
        holding: Holding,
        run: RunRecord,
        definition: Definition,
        target: Callable[..., Any],
        received_us: int,
    ) -> None:
        self.run_id = run.id
        self.task_id = run.task_id
        self.attempt = run.attempt
        self.target = target
        self.args: Sequence[Any] = ()
        self.kwargs: Mapping[str, Any] = _NOTHING
        self.reference = "" if definition.target is not None else definition.function
        self.payload = definition.payload
        self.started_us = 0
        self.withdrawn = False
        self.holding = holding
        self.run = run
        self.fence = run.fence
        self.definition = definition
        self.received_us = received_us
        self.marked = False

    def may_start(self, now_us: int) -> bool:
        """Whether the lease still holds: one that is over may be another node's by now."""
        if not self.withdrawn and now_us >= self.holding.good_until_us:
            self.withdrawn = True
        return not self.withdrawn


_NOTHING: Mapping[str, Any] = {}


def concluded(held: Held, outcome: Outcome) -> Finished:
    """Return what to write about an attempt that has ended."""
    result = reason = errors = None
    if outcome.error is not None:
        errors = _with_error(held, outcome.error, outcome.finished_us)
    elif outcome.encoded or outcome.result is not None:
        result, reason = _result_text(outcome)
    return Finished(
        held.run_id,
        held.task_id,
        held.run.generation,
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
    encoded = guarded(lambda: encode_result(outcome.result))
    if encoded.error is not None:
        return None, f"the result is not kept: {encoded.error}"
    return encoded.value, None


def _with_error(held: Held, error: RunError, at_us: int) -> str:
    earlier: list[Any] = json.loads(held.run.errors) if held.run.errors else []
    entry = {key: value for key, value in error._asdict().items() if value}
    return json.dumps(
        [*earlier, {"attempt": held.attempt, "at": from_us(at_us).isoformat(), **entry}]
    )


def failed(held: Held, error: BaseException | None, now_us: int) -> Finished:
    """Return what to write about a run that could not even be started."""
    entry = RunError(type(error).__name__, f"it could not be started: {error}")
    return Finished(
        held.run_id,
        held.task_id,
        held.run.generation,
        held.fence,
        RunState.FAILED,
        None,
        now_us,
        errors=_with_error(held, entry, now_us),
        follows=held.definition.fixed_delay,
    )


def left_over(held: Held, now_us: int, offset_us: int) -> Finished | GivenBack:
    """Return what becomes of a run that was ended in the middle because its scheduler stopped.

    `offset_us` is the offset of the clock by which it was started from the store's.
    """
    reason = "its scheduler was stopped in the middle of it"
    if held.definition.delivery is Delivery.AT_LEAST_ONCE:
        return GivenBack(held.run_id, held.fence, now_us, started=True, reason=reason)
    return Finished(
        held.run_id,
        held.task_id,
        held.run.generation,
        held.fence,
        RunState.LOST,
        held.started_us + offset_us if held.started_us else None,
        now_us,
        reason=f"{reason}, and its delivery is at_most_once",
        follows=held.definition.fixed_delay,
    )
