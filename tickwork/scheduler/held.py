"""A leased run in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tickwork.model.definition import Definition
from tickwork.model.jobs import Job
from tickwork.model.records import RunRecord

if TYPE_CHECKING:
    from tickwork.scheduler.holding import Holding

__all__ = ["Held"]


class Held(Job):
    """A job that knows its lease: the run as it was leased, and the fence to write under.

    `run` is read only; a memory store shares it, and `fence` is what it was when it was leased.
    One that is `overdue` should have ended, and can't be ended; one that `lingers` besides is over
    as far as anybody else is concerned. What became of one that is `settled` is only to be written.
    """

    __slots__ = (
        "definition",
        "grace_until_us",
        "holding",
        "lingers_as",
        "marked",
        "overdue",
        "received_us",
        "run",
        "settled",
        "why",
    )

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
        self.fire_us = run.fire_us
        self.fence = run.fence
        self.progress = None
        self.log = None
        self.ending = None
        self.why = ""
        self.grace_until_us = 0
        self.overdue = False
        self.settled = False
        self.lingers_as: tuple[int, str] | None = None
        self.holding = holding
        self.run = run
        self.definition = definition
        self.received_us = received_us
        self.marked = False

    def may_start(self, now_us: int) -> bool:
        """Whether the lease still holds: one that is over may be another node's by now."""
        if not self.withdrawn and now_us >= self.holding.good_until_us:
            self.withdrawn = True
        return not self.withdrawn and self.ending is None

    def noted(self) -> None:
        """Have what it said written soon; from any thread."""
        self.holding.note(self)


_NOTHING: Mapping[str, Any] = {}
