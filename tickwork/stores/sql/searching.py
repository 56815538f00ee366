"""Pages of tasks, and how many there are on all of them, in SQL; for runs see `histories`.

A page goes along an index where there is one for its order: by id, and by the time at which tasks
are due. Those that are due at no time come last, and are asked for when a page gets so far: to sort
both together would mean to sort them all. With `after` or `before` a page costs the same wherever
it stands; with an offset, all that is passed over is read.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    Select,
    and_,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    union,
)

from tickwork.model.listing import FAILURES, TELLING, sort_of
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import TaskQuery
from tickwork.stores.sql.rows import task_of
from tickwork.stores.sql.schema import unusual
from tickwork.stores.sql.session import Session

__all__ = ["count_tasks", "find_tasks"]

_SORTS = {"id": "id", "name": "name", "next_run_time": "due_us", "created_at": "created_us"}

_Condition = ColumnElement[bool]


def count_tasks(session: Session, query: TaskQuery) -> int:
    """Do a reader's `count_tasks`."""
    with session.database.reading() as connection:
        return _count(session, connection, _wanted(session, query))


def _count(session: Session, connection: Connection, wanted: Sequence[_Condition]) -> int:
    counted = select(func.count()).select_from(session.tables.tasks).where(*wanted)
    return int(connection.execute(counted).scalar_one())


def find_tasks(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Do a reader's `find_tasks`."""
    word, descending = sort_of(query)
    pages = _Pages(session, query, _SORTS[word], descending=descending)
    with session.database.reading() as connection:
        rows = pages.having(connection)
        if pages.go_on_after(rows):
            rows += pages.lacking(connection, rows)
        return [task_of(row, session.environment.codec) for row in rows]


class _Pages:
    """The pages of a query: first come the tasks that have what is sorted by, then the others."""

    def __init__(self, session: Session, query: TaskQuery, word: str, *, descending: bool) -> None:
        self._session, self._query = session, query
        self._wanted = _wanted(session, query)
        tasks = session.tables.tasks
        self._id, self._column = tasks.c.id, tasks.c[word]
        self._descending = descending

    @property
    def _first(self) -> list[_Condition]:
        """The conditions of the tasks that have the value."""
        present = self._column.is_not(None) if self._column.nullable else None
        return self._wanted if present is None else [*self._wanted, present]

    def having(self, connection: Connection) -> list[Row[Any]]:
        """Read what is on the page of the tasks that have the value."""
        after = self._query.after
        if after is not None and after[0] is None:
            return []
        beyond = [] if after is None else [self._is_beyond(*after)]
        page = self._sorted(*self._first, *beyond)
        return list(connection.execute(page).all())

    def _sorted(self, *wanted: _Condition) -> Select[Any]:
        """Return the page's part of what is wanted; what isn't on it isn't sorted as a whole."""
        tasks, column = self._session.tables.tasks, self._column
        order = [column.desc() if self._descending else column.asc()]
        if column is self._id:
            return self._page.where(*wanted).order_by(*order).offset(self._query.offset)
        order.append(self._id.asc())
        page = select(self._id).where(*wanted).order_by(*order)
        page = page.limit(self._query.limit).offset(self._query.offset)
        ids = page.subquery("page")
        return select(tasks).join(ids, ids.c.id == self._id).order_by(*order)

    def _is_beyond(self, value: Any, task_id: str) -> _Condition:
        column, down = self._column, self._descending
        if column is self._id:
            return column < task_id if down else column > task_id
        # What is said twice is what an index can be used for.
        inside = column <= value if down else column >= value
        beyond = column < value if down else column > value
        return and_(inside, or_(beyond, self._id > task_id))

    def go_on_after(self, rows: Sequence[Row[Any]]) -> bool:
        """Whether there may be tasks on the page that lack the value."""
        has_room = len(rows) < self._query.limit
        # What is late has a time at which it is due.
        return has_room and self._column.nullable is True and self._query.due_before_us is None

    def lacking(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Read what is on the page of the tasks that lack the value, after those that have it."""
        offset, after = self._query.offset, self._query.after
        page = self._page.where(*self._wanted, self._column.is_(None)).order_by(self._id)
        if after is not None and after[0] is None:
            page = page.where(self._id > after[1])
        elif rows:
            offset = 0
        elif offset:
            beyond = [] if after is None else [self._is_beyond(*after)]
            passed = _count(self._session, connection, [*self._first, *beyond])
            offset = max(0, offset - passed)
        page = page.limit(self._query.limit - len(rows))
        return list(connection.execute(page.offset(offset)).all())

    @property
    def _page(self) -> Select[Any]:
        return select(self._session.tables.tasks).limit(self._query.limit)


def _wanted(session: Session, query: TaskQuery) -> list[_Condition]:
    """Return the conditions of a query."""
    tasks = session.tables.tasks
    equal = {
        "executor": query.executor,
        "function": query.function,
        "declared_in": query.declared_in,
        "state": None if query.state is None else query.state.value,
    }
    wanted = [tasks.c[name] == value for name, value in equal.items() if value is not None]
    if query.trigger is not None:
        # Written into the statement: an index of the tasks of one kind can only be chosen then.
        wanted.append(tasks.c.trigger_kind == literal(query.trigger, literal_execute=True))
    if query.tag is not None:
        wanted.append(_is_tagged(session, query.tag))
    if query.search is not None:
        searched = query.search
        found = (
            column.icontains(searched, autoescape=True) for column in (tasks.c.id, tasks.c.name)
        )
        wanted.append(or_(*found))
    if query.due_before_us is not None:
        late = tasks.c.due_us < query.due_before_us
        wanted += [tasks.c.state == ScheduleState.SCHEDULED.value, late]
    if query.ids is not None:
        wanted.append(tasks.c.id.in_(sorted(query.ids)))
    if query.failing is not None:
        fails = _fails(session)
        wanted.append(fails if query.failing else not_(fails))
    if query.failing and session.database.backend.indexes_some:
        # Few ever failed; it is among them that the last run of each is looked at.
        wanted.append(tasks.c.id.in_(_may_fail(session)))
    return wanted


def _is_tagged(session: Session, word: str) -> _Condition:
    # With what stands before it, a tag's JSON text is found nowhere but where the tag begins.
    tags = session.tables.tasks.c.tags
    tag = json.dumps(word, ensure_ascii=False)
    found = getattr(func, session.database.backend.place_of)
    first, other = found(tags, f"[{tag}"), found(tags, f", {tag}")
    return or_(first > 0, other > 0)


def _fails(session: Session) -> _Condition:
    """Return the condition that a task fails, as in `model.listing.is_failing`."""
    tasks, runs = session.tables.tasks, session.tables.runs
    mine = (runs.c.task_id == tasks.c.id, runs.c.generation == tasks.c.generation)
    telling = select(runs.c.state).where(*mine, runs.c.state.in_(_words(TELLING)))
    last = telling.order_by(runs.c.id.desc()).limit(1).correlate(tasks).scalar_subquery()
    return or_(tasks.c.streak > 0, func.coalesce(last, "").in_(_words(FAILURES)))


def _may_fail(session: Session) -> CompoundSelect[Any]:
    """Return a query, by indexes, for the ids of all tasks that fail, and of some that did once."""
    tasks, runs = session.tables.tasks.alias("streaks"), session.tables.runs
    in_a_row = select(tasks.c.id).where(tasks.c.streak > literal_column("0"))
    # Each once: PostgreSQL has a better idea then how many there are.
    failed = select(runs.c.task_id).where(runs.c.state.in_(_words(FAILURES)))
    if not session.database.backend.infers:
        # A database that sees it by itself would take both together for much rarer than one.
        failed = failed.where(unusual(runs))
    return union(in_a_row, failed)


def _words(states: frozenset[RunState]) -> list[str]:
    return sorted(state.value for state in states)
