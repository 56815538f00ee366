"""Making the runs of an edit, in SQL."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Edit, PlannedRun, new_run
from tickwork.stores.sql.gates import Keys, open_gates
from tickwork.stores.sql.rows import (
    NEW_RUN,
    SPECIAL_NEW_RUN,
    is_special,
    new_run_row,
    special_new_run_row,
)
from tickwork.stores.sql.session import Session

__all__ = ["NewRuns", "make_runs"]


class NewRuns:
    """Runs that are to be added, counted on the tasks they belong to."""

    def __init__(self) -> None:
        self._plain: list[tuple[Any, ...]] = []
        self._special: list[tuple[Any, ...]] = []
        self._gated: list[RunRecord] = []

    def add(self, task: TaskRecord, planned: PlannedRun, run: RunRecord) -> None:
        """Have a run added, as it was planned."""
        queued = False
        if planned.state is RunState.PENDING:
            queued = planned.queued
            task.active += 1
            task.queued += queued
            task.made += planned.source is Source.SCHEDULED
        if is_special(run):
            self._special.append(special_new_run_row(run, queued=queued))
            if run.gated_us is not None:
                self._gated.append(run)
        else:
            self._plain.append(new_run_row(run, queued=queued))

    def insert(self, session: Session, connection: Connection) -> None:
        """Add them all; raises IntegrityError where a slot is taken.

        Records of those that get their key at once are changed.
        """
        for columns, rows in ((NEW_RUN, self._plain), (SPECIAL_NEW_RUN, self._special)):
            session.insert(connection, session.tables.runs, columns, rows, count=len(rows))
        keys = Keys(run.key for run in self._gated if run.key is not None)
        through = open_gates(session, connection, keys)
        for run in self._gated:
            if run.id in through:
                run.holds_key, run.available_us, run.gated_us = True, run.gated_us, None


def make_runs(  # noqa: PLR0917  a part of an edit, in its transaction
    session: Session,
    connection: Connection,
    task: TaskRecord,
    edit: Edit,
    new_id: Callable[[], str],
) -> list[RunRecord]:
    """Add the runs of an edit, counting those that are pending on the task they belong to."""
    if not edit.runs:
        return []
    now_us = session.environment.now_us()
    made = []
    new = NewRuns()
    for planned in session.free_slots(connection, task, edit.runs):
        run = new_run(planned, task, new_id(), now_us, None, 0)
        made.append(run)
        new.add(task, planned, run)
    new.insert(session, connection)
    return made
