"""Pages of runs, the newest first, and how many there are on all of them, in SQL.

Ids of runs begin with the time of their creation, and a page goes along an index of ids, from where
the page before ended to where it is full. What few runs have is found through an index of these
alone: that they aren't over, how they ended unless all went well, that a node died of them. For
each such state the newest are taken, and the page out of these.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    false,
    func,
    select,
    true,
    union_all,
)

from tickwork.model.instants import SECOND
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import RunQuery
from tickwork.stores.sql.rows import run_of
from tickwork.stores.sql.schema import UNUSUAL, unusual
from tickwork.stores.sql.session import Session

__all__ = ["count_runs", "find_runs"]

_Condition = ColumnElement[bool]

_APART_US = 3_600 * SECOND
"""How far the instant in an id may be from the one that is written down: clocks differ."""


def find_runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Do a reader's `find_runs`."""
    runs = session.tables.runs
    page = select(*session.run).where(_on_page(session, query)).order_by(runs.c.id.desc())
    with session.database.reading() as connection:
        rows = connection.execute(page.limit(query.limit).offset(query.offset)).all()
        return [run_of(row, session.environment.codec) for row in rows]


def count_runs(session: Session, query: RunQuery) -> int:
    """Do a reader's `count_runs`."""
    wanted = and_(true(), *_wanted(session, query, None), *_of_states(session, query))
    counted = select(func.count()).select_from(session.tables.runs).where(wanted)
    with session.database.reading() as connection:
        return int(connection.execute(counted).scalar_one())


def _on_page(session: Session, query: RunQuery) -> _Condition:
    """Return the condition of the runs of a page, and perhaps of some that come behind it."""
    runs = session.tables.runs
    wanted = _wanted(session, query, query.before)
    if not _goes_by_state(session, query):
        return and_(true(), *wanted, *_of_states(session, query))
    newest = [
        select(runs.c.id)
        .where(*wanted, condition)
        .order_by(runs.c.id.desc())
        .limit(query.offset + query.limit)
        for condition in _by_state(session, query)
    ]
    if len(newest) == 1:
        [condition] = _by_state(session, query)
        return and_(*wanted, condition)
    return runs.c.id.in_(union_all(*(select(each.subquery().c.id) for each in newest)))


def _goes_by_state(session: Session, query: RunQuery) -> bool:
    """Whether the newest runs of each state are found through an index of some runs."""
    if not query.states or query.task_id is not None or query.suspect:
        return False
    indexed = session.database.backend.indexes_some
    return indexed and RunState.COMPLETED not in query.states


def _by_state(session: Session, query: RunQuery) -> list[_Condition]:
    """Return conditions, one of which a run of the states meets; each is met through an index."""
    runs = session.tables.runs
    states = query.states or frozenset()
    found = [and_(unusual(runs), runs.c.state == word) for word in _words(states & TERMINAL)]
    if states - TERMINAL:
        alive = runs.c.state.in_(_words(states - TERMINAL))
        found.append(and_(alive, runs.c.id.in_(_not_over(session))))
    return found


def _not_over(session: Session) -> CompoundSelect[Any]:
    """Return a query for the ids of runs that aren't over, among them few others, by indexes.

    Each of these is leased, available, queued behind others of its task, or waits for its key.
    """
    runs = session.tables.runs
    marks = runs.c.node, runs.c.available_us, runs.c.queued_us, runs.c.awaited_key
    return union_all(*(select(runs.c.id).where(mark.is_not(None)) for mark in marks))


def _of_states(session: Session, query: RunQuery) -> list[_Condition]:
    """Return the conditions of the states of a query, together."""
    runs, states = session.tables.runs, query.states
    if states is None:
        return []
    wanted: list[_Condition] = [runs.c.state.in_(_words(states))]
    if states and states <= UNUSUAL and query.task_id is None:
        # It follows from the states, and is said so that the index can be used.
        wanted.append(unusual(runs))
    if query.task_id is None and not states & TERMINAL and not query.suspect:
        wanted.append(runs.c.id.in_(_not_over(session)))
    return wanted


def _wanted(session: Session, query: RunQuery, before: tuple[int, str] | None) -> list[_Condition]:
    """Return the conditions of a query but for those of states."""
    runs = session.tables.runs
    wanted = _those(runs, query, before)
    if query.among is not None:
        wanted.append(_is_looked_at(session, query, before))
    if query.source is not None:
        wanted.append(runs.c.source == query.source.value)
    if query.suspect is not None:
        wanted.append(runs.c.suspect.is_(true() if query.suspect else false()))
    if query.since_us is not None:
        wanted += [
            runs.c.created_us >= query.since_us,
            runs.c.id >= _id_at(query.since_us - _APART_US),
        ]
    return wanted


def _those(runs: FromClause, query: RunQuery, before: tuple[int, str] | None) -> list[_Condition]:
    """Return the conditions of the runs the newest of which are looked at."""
    wanted: list[_Condition] = []
    if query.task_id is not None:
        wanted.append(runs.c.task_id == query.task_id)
    if before is not None:
        wanted.append(runs.c.id < before[1])
    if query.until_us is not None:
        wanted += [
            runs.c.created_us <= query.until_us,
            runs.c.id < _id_at(query.until_us + _APART_US),
        ]
    return wanted


def _is_looked_at(session: Session, query: RunQuery, before: tuple[int, str] | None) -> _Condition:
    """Return the condition that a run comes before the first that isn't looked at any more."""
    runs = session.tables.runs.alias("newest")
    first = select(runs.c.id).where(*_those(runs, query, before)).order_by(runs.c.id.desc())
    place = first.limit(1).offset(query.among).scalar_subquery()
    return session.tables.runs.c.id > func.coalesce(place, "")


def _id_at(at_us: int) -> str:
    """Return what the ids of runs that were made at an instant begin with."""
    return f"{max(at_us, 0):014x}"


def _words(states: frozenset[RunState]) -> list[str]:
    return sorted(state.value for state in states)
