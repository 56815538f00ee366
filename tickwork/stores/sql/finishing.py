"""Writing what happened to leased runs, in SQL.

Nearly always all leases of a batch still hold, and none of its runs holds a key. So it is written
under that condition, with a few statements for all rows, and only if the database says that fewer
rows were touched is it taken back and done again after looking at each run.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    bindparam,
    case,
    func,
    null,
    update,
)

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.steps import Batch, Ended, Finished, GivenBack, Mark, Note
from tickwork.stores.sql.following import Ends, let_go
from tickwork.stores.sql.gates import Keys
from tickwork.stores.sql.many import New
from tickwork.stores.sql.orphans import end_orphans
from tickwork.stores.sql.rows import word_of
from tickwork.stores.sql.session import Session, met_by_most
from tickwork.stores.sql.sorting import sorted_out

__all__ = ["finish"]

_OVER = sorted(state.value for state in TERMINAL)


class _UnexpectedError(Exception):
    """Fewer rows were touched than the batch has entries."""


def finish(session: Session, batch: Batch) -> frozenset[str]:
    """Do a store's `finish`."""
    try:
        with session.database.writing() as connection:
            _write(session, connection, batch)
            return frozenset()
    except _UnexpectedError:
        pass
    with session.database.writing() as connection:
        holding, keys, rejected = sorted_out(session, connection, batch)
        _write(session, connection, holding, keys)
        return rejected


def _write(
    session: Session, connection: Connection, batch: Batch, keys: Keys | None = None
) -> None:
    """Write a batch; without `keys`, those of the runs that are over by it, none may hold one."""
    _write_notes(session, connection, batch.notes)
    _write_marks(session, connection, batch.marks)
    for given_back in _alike(batch.given_back):
        _write_given_back(session, connection, given_back)
    if batch.given_back:
        session.database.hint(connection)
        end_orphans(session, connection, [each.run_id for each in batch.given_back])
    _write_lingering(session, connection, [each for each in batch.finished if each.lingers])
    over = [each for each in batch.finished if not each.lingers]
    _write_finished(session, connection, over, may_hold=keys is not None)
    ends = Ends(batch.after_run, keys=keys or Keys())
    ends.over = Counter((each.task_id, each.generation) for each in over if each.generation)
    for each in over:
        if each.follows and each.generation:
            ended = Ended(each.state, each.finished_us)
            ends.follows.setdefault((each.task_id, each.generation), []).append(ended)
    let_go(session, connection, ends)


def _write_notes(session: Session, connection: Connection, notes: Sequence[Note]) -> None:
    runs = session.tables.runs
    last: dict[tuple[str, int], Note] = {}
    for note in notes:
        before = last.get((note.run_id, note.fence), note)
        last[note.run_id, note.fence] = note._replace(
            progress=note.progress or before.progress, log=note.log or before.log
        )

    def make(new: New) -> Update:
        return (
            update(runs)
            .where(runs.c.id == new["its_id"], runs.c.fence == new["its_fence"])
            .values(
                progress=func.coalesce(new["progress"], runs.c.progress),
                log=func.coalesce(new["log"], runs.c.log),
            )
        )

    session.update(connection, ("its_id", "its_fence", "progress", "log"), make, [*last.values()])


def _alike(given_back: Sequence[GivenBack]) -> list[list[GivenBack]]:
    groups: dict[tuple[bool, bool], list[GivenBack]] = {}
    for each in given_back:
        groups.setdefault((each.started, each.error is not None), []).append(each)
    return list(groups.values())


def _held(session: Session) -> tuple[Any, ...]:
    """Return the conditions under which a lease still holds."""
    runs = session.tables.runs
    return (
        runs.c.id == bindparam("b_id"),
        runs.c.fence == bindparam("b_fence"),
        runs.c.node.is_not(None),
    )


def _goes_on(session: Session) -> list[ColumnElement[bool]]:
    """Return the conditions under which a run isn't over; no `in`, which goes for one row only."""
    return [session.tables.runs.c.state != word for word in _OVER]


def _all_touched(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    if rows and connection.execute(statement, rows).rowcount != len(rows):
        raise _UnexpectedError


def _write_marks(session: Session, connection: Connection, marks: Sequence[Mark]) -> None:
    runs = session.tables.runs
    waits = runs.c.state == RunState.PENDING.value
    started_us = case((waits, bindparam("b_started_us")), else_=runs.c.started_us)
    statement = session.once(
        "mark",
        lambda: (
            update(runs)
            .where(*_held(session))
            .ordered_values(
                # A start that is written down already stays as it is. Before the state is changed:
                # MySQL goes by what it has changed already.
                (runs.c.started_us, started_us),
                (runs.c.state, case((waits, RunState.RUNNING.value), else_=runs.c.state)),
            )
        ),
    )
    rows = [
        {"b_id": each.run_id, "b_fence": each.fence, "b_started_us": each.started_us}
        for each in marks
    ]
    _all_touched(connection, statement, rows)


def _write_given_back(
    session: Session, connection: Connection, given_back: Sequence[GivenBack]
) -> None:
    runs = session.tables.runs
    values: dict[str, Any] = {
        "state": RunState.PENDING.value,
        "node": None,
        # Whoever asked for its end needn't wait for what it waits for.
        "available_us": func.coalesce(runs.c.cancel_us, bindparam("b_available_us")),
        "reason": bindparam("b_reason"),
    }
    if not given_back[0].started:
        values |= {"attempt": runs.c.attempt - 1, "started_us": None}
    elif given_back[0].error is not None:
        values |= {"failures": runs.c.failures + 1, "errors": bindparam("b_errors")}
    rows = [
        {
            "b_id": each.run_id,
            "b_fence": each.fence,
            "b_available_us": each.available_us,
            "b_reason": each.reason,
            **({"b_errors": each.error} if each.error is not None else {}),
        }
        for each in given_back
    ]
    held = (*_held(session), *_goes_on(session))
    _all_touched(connection, update(runs).where(*held).values(values), rows)


def _write_lingering(session: Session, connection: Connection, lingering: list[Finished]) -> None:
    runs = session.tables.runs
    new: New = {key: bindparam(f"b_{key}") for key in _FINISHED}
    its = (runs.c.id == new["its_id"], runs.c.fence == new["its_fence"])
    held = (*its, runs.c.node.is_not(None), *_goes_on(session))
    values = {**_ended(session, new), "expires_us": new["expires_us"]}
    rows = [dict(zip(_FINISHED, each, strict=True)) for each in _finished_rows(lingering)]
    named = [{f"b_{key}": value for key, value in row.items()} for row in rows]
    _all_touched(connection, update(runs).where(*held).values(values), named)


def _write_finished(
    session: Session, connection: Connection, finished: list[Finished], *, may_hold: bool
) -> None:
    runs = session.tables.runs

    def write(new: New, *conditions: ColumnElement[bool]) -> Update:
        its = (runs.c.id == new["its_id"], runs.c.fence == new["its_fence"])
        held = met_by_most(runs.c.node.is_not(None), *conditions)
        values = {**_ended(session, new), "node": null()}
        return update(runs).where(*its, held).values(values)

    def write_any(new: New) -> Update:
        return write(new).values(held_key=null(), expires_us=new["expires_us"])

    def write_keyless(new: New) -> Update:
        return write(new, runs.c.held_key.is_(None)).values(expires_us=new["expires_us"])

    def write_plain(new: New) -> Update:
        return write(new, runs.c.held_key.is_(None), runs.c.expires_us.is_(None))

    # Each index on what is written takes its time, even if nothing comes of it.
    plain = all(each.expires_us is None for each in finished)
    make = write_any if may_hold else write_plain if plain else write_keyless
    rows = _finished_rows(finished)
    if session.update(connection, _FINISHED, make, rows) != len(rows):
        raise _UnexpectedError


def _ended(session: Session, new: New) -> dict[str, Any]:
    """Return what becomes of a run that is over."""
    runs = session.tables.runs
    return {
        "state": new["state"],
        "started_us": func.coalesce(new["started_us"], runs.c.started_us),
        "finished_us": new["finished_us"],
        "result": new["result"],
        "errors": func.coalesce(new["errors"], runs.c.errors),
        "failures": runs.c.failures + new["failed"],
        "reason": new["reason"],
    }


def _finished_rows(finished: list[Finished]) -> list[tuple[Any, ...]]:
    return [
        (
            each.run_id,
            each.fence,
            word_of(each.state),
            each.started_us,
            each.finished_us,
            each.result,
            each.errors,
            int(each.errors is not None and each.state is not RunState.COMPLETED),
            each.reason,
            each.expires_us,
        )
        for each in finished
    ]


_FINISHED = (
    "its_id",
    "its_fence",
    "state",
    "started_us",
    "finished_us",
    "result",
    "errors",
    "failed",
    "reason",
    "expires_us",
)
"""What `_finished_rows` returns."""
