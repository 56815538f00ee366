"""Leasing in SQL.

It looks first, without locks, whether there is anything to do. Then one transaction locks the runs
that come first, passing over those that another node works on, and writes the leases. Of a hint
that was just heard, the `few` runs that it is about are leased at once.

First comes the lowest rank, of it what has been available longest. An index in that order also
holds what will be available later, and an index by time what comes later in rank; to read none of
either in vain, runs are looked for rank by rank. There are few.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Update,
    bindparam,
    false,
    null,
    select,
    true,
    update,
)

from tickwork.errors import UnreadableRecordError
from tickwork.model.records import Leased
from tickwork.model.steps import UNREADABLE_AGAIN_US, Deferral, LeaseReply, LeaseRequest
from tickwork.stores.sql.few import lease_few
from tickwork.stores.sql.many import New
from tickwork.stores.sql.orphans import end_orphans
from tickwork.stores.sql.rows import run_of
from tickwork.stores.sql.session import Session, chunks, leasable, named

__all__ = ["lease"]


def lease(session: Session, request: LeaseRequest) -> LeaseReply:
    """Do a store's `lease`."""
    hints = session.database.hints
    if hints is not None and hints.were_heard():
        leased = lease_few(session, request)
        if leased:
            return LeaseReply(leased)
    next_us = _next_available(session, request)
    if next_us is None or next_us > request.now_us:
        return LeaseReply(next_us=next_us)
    if not any(request.capacity.values()):
        return LeaseReply()
    with session.database.writing() as connection:
        leasing = _Leasing(session, connection, request)
        found = leasing.found()
        if not found:
            end_orphans(session, connection)
        fence = session.next_fence(connection) if found else 0
        for row in found:
            leasing.take(row, fence)
        leasing.write()
    return LeaseReply(leasing.leased, None if leasing.leased else next_us, leasing.deferred)


def _next_available(session: Session, request: LeaseRequest) -> int | None:
    runs = session.tables.runs

    def first() -> Select[Any]:
        eligible = runs.c.available_us.is_not(None), leasable(session, request.eligibility)
        found = select(runs.c.available_us).where(*eligible)
        if not request.suspects:
            found = found.where(runs.c.suspect.is_(False))
        return found.order_by(runs.c.available_us).limit(1)

    with session.database.reading() as connection:
        of = request.eligibility, request.suspects
        return connection.execute(session.latest("next available", of, first)).scalar()


class _Ranks(NamedTuple):
    """The first and the last rank of what waits for an executor."""

    first: int
    last: int


class _Leasing:
    """One transaction that leases."""

    def __init__(self, session: Session, connection: Connection, request: LeaseRequest) -> None:
        self._session = session
        self._connection = connection
        self._request = request
        self._later: list[str] = []
        self.leased: list[Leased] = []
        self.deferred: list[tuple[str, Deferral]] = []

    def found(self) -> list[Row[Any]]:
        """Return the runs that may be leased, those that come first at the beginning.

        Raises:
            LeaseLostError: the node's lease doesn't hold; until the transaction ends, it does.
        """
        capacity = self._request.capacity
        left = {executor: room for executor, room in capacity.items() if room > 0}
        suspect, ranks = self._look(sorted(left))
        found: list[Row[Any]] = []
        if self._request.suspects and suspect:
            found += self._first_suspect(sorted(left))
            for row in found:
                left[row.executor] -= 1
        for executor, those in ranks.items():
            if left[executor]:
                found += self._of_executor(executor, those, left[executor])
        # Ids sort by creation: of those that are alike in all else, the oldest comes first.
        return sorted(found, key=lambda row: (row.rank, row.available_us, row.id))

    def _look(self, executors: Sequence[str]) -> tuple[bool, dict[str, _Ranks]]:
        """Return whether a suspect waits, and the ranks of the others that wait, by executor."""
        statement = self._session.once(("ranks", len(executors)), lambda: self._all(len(executors)))
        named = {f"b_{at}": executor for at, executor in enumerate(executors)}
        named["b_node"] = self._request.node
        living, suspect, *ends = self._connection.execute(statement, named).one()
        self._session.seen_alive(self._request.node, living)
        return suspect is not None, {
            executor: _Ranks(first, last)
            for executor, first, last in zip(executors, ends[::2], ends[1::2], strict=True)
            if first is not None
        }

    def _all(self, count: int) -> Select[Any]:
        """Return a statement that finds the node, and each end of each line through the index."""
        rank = self._session.tables.runs.c.rank
        first = self._session.living(), self._waiting(suspect=True).limit(1)
        columns = [each.scalar_subquery() for each in first]
        for at in range(count):
            line = self._waiting(suspect=False, executor=bindparam(f"b_{at}"))
            ends = line.order_by(rank), line.order_by(rank.desc())
            columns += [each.limit(1).scalar_subquery() for each in ends]
        return select(*(each.label(f"c{at}") for at, each in enumerate(columns)))

    def _waiting(self, *, suspect: bool, executor: Any = None) -> Select[Any]:
        """Return a query for ranks of runs that wait.

        Where an index can't be of them alone, what doesn't wait is worth nothing to tell apart.
        """
        runs = self._session.tables.runs
        found = select(runs.c.rank).where(runs.c.suspect == (true() if suspect else false()))
        if executor is not None:
            found = found.where(runs.c.executor == executor)
        if self._session.database.backend.indexes_some:
            found = found.where(runs.c.available_us.is_not(None), runs.c.node.is_(None))
        return found

    def _first_suspect(self, executors: Sequence[str]) -> Sequence[Row[Any]]:
        runs = self._session.tables.runs
        suspect = self._available().where(runs.c.suspect == true(), runs.c.executor.in_(executors))
        order = (runs.c.rank, runs.c.available_us)
        named = {"b_now_us": self._request.now_us}
        return self._connection.execute(suspect.order_by(*order).limit(1), named).all()

    def _of_executor(self, executor: str, ranks: _Ranks, limit: int) -> list[Row[Any]]:
        of = self._request.eligibility, self._request.only
        statement = self._session.latest("available", of, self._of_rank)
        named = {"b_now_us": self._request.now_us, "b_executor": executor}
        found: list[Row[Any]] = []
        for rank in self._each(executor, ranks):
            wanted = {**named, "b_rank": rank, "b_limit": limit - len(found)}
            found += self._connection.execute(statement, wanted).all()
            if len(found) == limit:
                break
        return found

    def _of_rank(self) -> Select[Any]:
        """Return a query for the runs of an executor that may be leased and have a rank."""
        runs = self._session.tables.runs
        of_rank = (
            runs.c.suspect == false(),
            runs.c.executor == bindparam("b_executor"),
            runs.c.rank == bindparam("b_rank"),
        )
        found = self._available().where(*of_rank).order_by(runs.c.available_us)
        return found.limit(bindparam("b_limit"))

    def _each(self, executor: str, ranks: _Ranks) -> Iterator[int]:
        """Yield the ranks of an executor in order, each found when it is needed."""
        rank = ranks.first
        yield rank
        runs = self._session.tables.runs
        following = self._session.once(
            "next rank",
            lambda: (
                self._waiting(suspect=False, executor=bindparam("b_executor"))
                .where(runs.c.rank > bindparam("b_rank"))
                .order_by(runs.c.rank)
                .limit(1)
            ),
        )
        while rank < ranks.last:
            names = {"b_executor": executor, "b_rank": rank}
            found = self._connection.execute(following, names).scalar()
            if found is None:
                return
            rank = found
            yield rank

    def _available(self) -> Select[Any]:
        session, request = self._session, self._request
        runs = session.tables.runs
        definition = session.definition_of_run()
        statement = (
            select(*session.run, definition.label("executed"))
            .where(
                runs.c.available_us <= bindparam("b_now_us"),
                runs.c.node.is_(None),
                leasable(session, request.eligibility),
                definition.is_not(None),
            )
            .with_for_update(skip_locked=True)
        )
        if request.only is not None:
            statement = statement.where(runs.c.id.in_(named(session, "only", request.only)))
        return statement

    def take(self, row: Row[Any], fence: int) -> None:
        """Lease a run that was found, if it can be understood."""
        codec = self._session.environment.codec
        try:
            definition = codec.decode(row.executed)
        except UnreadableRecordError as error:
            if row.definition is None:
                self.deferred.append((row.task_id, Deferral(str(error))))
            else:
                # No task of that name is to blame; another node may understand it.
                self._later.append(row.id)
            return
        run = run_of(row, codec)
        run.node, run.fence, run.available_us = self._request.node, fence, None
        run.attempt += 1
        self.leased.append(Leased(run, definition))

    def write(self) -> None:
        """Write the leases, and what waits for others to understand it."""
        runs = self._session.tables.runs

        def make(new: New) -> Update:
            leased = {name: new[name] for name in ("node", "fence", "attempt")}
            return (
                update(runs).where(runs.c.id == new["its_id"]).values(**leased, available_us=null())
            )

        rows = [(run.id, run.node, run.fence, run.attempt) for run, _ in self.leased]
        self._session.update(self._connection, ("its_id", "node", "fence", "attempt"), make, rows)
        again_us = self._request.now_us + UNREADABLE_AGAIN_US
        for some in chunks(self._later):
            later = update(runs).where(runs.c.id.in_(some)).values(available_us=again_us)
            self._connection.execute(later)
