"""A leased run in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tickwork.model.definition import Definition
from tickwork.model.jobs import Job
from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord

if TYPE_CHECKING:
    from tickwork.scheduler.gatekeeping import Passage
    from tickwork.scheduler.holding import Holding

__all__ = ["Held"]

logger = logging.getLogger("tickwork.gates")


class Held(Job):
    """A job that knows its lease: the run as it was leased, and the fence to write under.

    `run` is read only; a memory store shares it, and `fence` is what it was when it was leased.
    One that is `overdue` should have ended, and can't be ended; one that `lingers` besides is over
    as far as anybody else is concerned. What became of one that is `settled` is only to be written.
    One that is `at_gate` hasn't been let through, or not been handed to its executor yet; one that
    `still_runs` outlives its scheduler.
    """

    __slots__ = (
        "at_gate",
        "definition",
        "ended_us",
        "grace_until_us",
        "holding",
        "lingers_as",
        "marked",
        "overdue",
        "passage",
        "received_us",
        "run",
        "settled",
        "still_runs",
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
        self.lost_lock = None
        self.passage: Passage | None = None
        self.at_gate = False
        self.still_runs = False
        self.ended_us = 0
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
        return not (self.withdrawn or self.ending is not None or self.is_shut_out())

    def withdraw(self) -> bool:
        """Have it given back, unless it is written or agreed already that it runs here, and now."""
        stays = self.marked or self.passage is not None or self.run.source is Source.SHUTDOWN
        self.withdrawn |= not stays
        return not stays

    def is_shut_out(self) -> bool:
        """Whether it has lost, before it could start, what it was let through for."""
        lost = None if self.passage is None else self.passage.loss()
        if lost is not None:
            self.why = f"before it could start: {lost}"
            # That it starts may have been written down already.
            self.ending = RunState.CANCELLED if self.marked else RunState.SKIPPED
        return lost is not None

    def note_loss(self) -> None:
        """Note what it has lost of what it was let through for, once."""
        if self.lost_lock is None and self.passage is not None:
            self.lost_lock = self.passage.loss()
            if self.lost_lock is not None:
                logger.warning(
                    "run of %s goes on although %s",
                    self.task_id,
                    self.lost_lock,
                    extra={"task_id": self.task_id, "run_id": self.run_id},
                )

    def noted(self) -> None:
        """Have what it said written soon; from any thread."""
        self.holding.note(self)


_NOTHING: Mapping[str, Any] = {}
