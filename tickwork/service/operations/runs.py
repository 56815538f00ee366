"""What can be done to runs.

A store finds at once what few runs are: those of a task or of a time, those that aren't over or
didn't go well. For a page of others, of a source or of completed ones, it may have to look through
all that it keeps; so it is asked about so many of them at a time, and the page says how far it got.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tickwork.errors import ConflictError, InvalidInputError, TickworkError
from tickwork.model.instants import from_us, to_us
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord
from tickwork.model.snapshots import RunInfo
from tickwork.model.steps import PruneRequest as StorePruneRequest
from tickwork.model.steps import RunQuery
from tickwork.service.cursors import make_cursor, read_cursor
from tickwork.service.models import (
    BulkResult,
    Failure,
    Page,
    PruneRequest,
    PruneResult,
    RetryRequest,
    RunFilter,
    RunLog,
    RunProgress,
    RunSummary,
)
from tickwork.service.operations.base import OperationsBase
from tickwork.service.operations.bulk import check_count
from tickwork.service.roles import Action
from tickwork.service.views import summary_of

__all__ = ["RunOperations"]

_SAMPLE = 20
_PAGE = 500
_LOOKED_AT = 50_000
"""How many runs are looked through for one page, where only a few of them may fit."""
_FAILED = (RunState.FAILED, RunState.TIMEOUT, RunState.LOST)


class RunOperations(OperationsBase):
    """Looking at runs, ending them, executing them again."""

    def list_runs(
        self,
        filters: RunFilter | None = None,
        *,
        limit: int = 100,
        cursor: str | None = None,
        total: bool = False,
    ) -> Page[RunSummary]:
        """Return a page of runs, the newest first, of all stores together.

        It may have fewer than `limit` and a next one: see `Page`.

        Raises:
            InvalidInputError: the cursor is none of this list.
        """
        self._look(Action.RUNS_LIST)
        filters = filters or RunFilter()
        before = None if cursor is None else _place(cursor)
        found, edge = self._sought(filters, limit + 1, before)
        following = None if edge is None else make_cursor(*edge)
        if len(found) > limit:
            last, _ = found[limit - 1]
            following = make_cursor(last.created_us, last.id)
        infos = self.reach.run_infos(found[:limit])
        count, exact = self._counted(filters) if total else (None, True)
        return Page(
            items=[summary_of(info) for info in infos],
            next_cursor=following,
            total=count,
            total_exact=exact,
            looked_back_to=None if edge is None else from_us(edge[0]),
        )

    def _sought(
        self, filters: RunFilter, limit: int, before: tuple[int, str] | None
    ) -> tuple[list[tuple[RunRecord, str]], tuple[int, str] | None]:
        """Return runs, and, where too many were looked at to find all, the last of those."""
        if not _is_sought(filters):
            return self._find(filters, limit, before), None
        found = self._find(filters, limit, before, _LOOKED_AT)
        if len(found) >= limit and len(self.reach.names(filters.store)) == 1:
            return found, None
        edge = self._edge(filters, before)
        if edge is not None:
            # Of another store, or since a moment ago: they come on the next page.
            found = [each for each in found if each[0].id >= edge[1]]
        return found, edge if len(found) < limit else None

    def _edge(
        self, filters: RunFilter, before: tuple[int, str] | None = None
    ) -> tuple[int, str] | None:
        """Return the last run to look at, from a place on; None where these are all there are."""
        asked = _query(filters, 2, before)
        query = replace(
            asked, states=None, source=None, since_us=None, suspect=None, offset=_LOOKED_AT - 1
        )
        names = self.reach.names(filters.store)
        found = [self.reach.reader(name).find_runs(query) for name in names]
        last = [(some[0].created_us, some[0].id) for some in found if len(some) > 1]
        # Beyond the newest of several, what the other stores have isn't known yet.
        edge = max(last, key=_id, default=None)
        since_us = asked.since_us
        return None if edge is None or (since_us is not None and edge[0] < since_us) else edge

    def _counted(self, filters: RunFilter) -> tuple[int, bool]:
        """Return how many runs a filter finds, and whether that are all or only the newest."""
        ranged = filters.since is not None or filters.until is not None
        if not ranged and not _is_sought(filters):
            return self.count_runs(filters), True
        query = replace(_query(filters), among=_LOOKED_AT)
        names = self.reach.names(filters.store)
        count = sum(self.reach.reader(name).count_runs(query) for name in names)
        return count, self._edge(filters) is None

    def count_runs(self, filters: RunFilter | None = None) -> int:
        """Return how many runs a filter finds."""
        self._look(Action.RUNS_LIST)
        filters = filters or RunFilter()
        query = _query(filters)
        return sum(
            self.reach.reader(name).count_runs(query) for name in self.reach.names(filters.store)
        )

    def _find(
        self,
        filters: RunFilter,
        limit: int,
        before: tuple[int, str] | None,
        among: int | None = None,
    ) -> list[tuple[RunRecord, str]]:
        query = replace(_query(filters, limit, before), among=among)
        found = [
            (run, name)
            for name in self.reach.names(filters.store)
            for run in self.reach.reader(name).find_runs(query)
        ]
        found.sort(key=lambda each: (each[0].created_us, each[0].id), reverse=True)
        return found[:limit]

    def get_run(self, run_id: str, *, store: str | None = None) -> RunInfo:
        """Return a run as it stands now.

        Raises:
            RunNotFoundError: there is no such run, or it was pruned.
        """
        self._look(Action.RUNS_READ)
        self.reach.names(store)
        return self.scheduler.get_run(run_id, store=store)

    def get_log(self, run_id: str, *, store: str | None = None) -> RunLog:
        """Return the last lines that a run has logged."""
        run = self.get_run(run_id, store=store)
        over = run.status in TERMINAL
        return RunLog(run_id=run.id, status=run.status, over=over, lines=run.log)

    def get_progress(self, run_id: str, *, store: str | None = None) -> RunProgress:
        """Return how far a run says it is."""
        run = self.get_run(run_id, store=store)
        over = run.status in TERMINAL
        return RunProgress(run_id=run.id, status=run.status, over=over, progress=run.progress)

    def cancel_run(
        self, run_id: str, *, reason: str | None = None, store: str | None = None
    ) -> RunInfo:
        """End a run, wherever it is; one under way ends a moment later.

        Raises:
            RunNotFoundError: there is no such run.
            ConflictError: it is over already.
        """
        self._require(Action.RUNS_CANCEL, run_id)
        run = self.get_run(run_id, store=store)
        with self._doing(Action.RUNS_CANCEL, run_id, {"status": run.status.value}) as doing:
            said = reason or f"cancelled by {self.actor.name}"
            if not self.scheduler.cancel_run(run_id, reason=said, store=run.store):
                raise ConflictError(f"run {run_id!r} is over already")
            after = self.get_run(run_id, store=run.store)
            doing.after = {"status": after.status.value, "reason": said}
        return after

    def retry_run(self, run_id: str, *, store: str | None = None) -> RunSummary:
        """Execute again what a run was for that is over; return the new run.

        Raises:
            ConflictError: it isn't over yet.
        """
        self._require(Action.RUNS_RETRY, run_id)
        run = self.get_run(run_id, store=store)
        with self._doing(Action.RUNS_RETRY, run_id) as doing:
            new = self.scheduler.retry_run(run_id, store=run.store).snapshot()
            doing.after = {"run": new.id}
        return summary_of(new)

    def retry_runs(self, request: RetryRequest) -> BulkResult:
        """Execute again all runs that a filter finds and that are over; or only count them.

        Without states in the filter, these are the ones that failed.

        Raises:
            CountChangedError: they aren't as many any more as `expected_count` says.
        """
        self._require(Action.RUNS_RETRY, "bulk")
        filters = request.filter
        if filters.status is None:
            filters = filters.model_copy(update={"status": list(_FAILED)})
        elif not set(filters.status) <= TERMINAL:
            raise InvalidInputError("only runs that are over can be executed again")
        count = self.count_runs(filters)
        sample = [run.id for run in self.list_runs(filters, limit=_SAMPLE).items]
        if request.dry_run:
            return BulkResult(count=count, sample=sample, applied=False)
        check_count(request.expected_count, count, "runs")
        found = list(self._found_runs(filters))
        done, failed = 0, []
        said = request.model_dump(mode="json", exclude_unset=True)
        with self._doing(Action.RUNS_RETRY, f"bulk: {len(found)} runs", said) as doing:
            for run, store in found:
                try:
                    self.scheduler.retry_run(run.id, store=store)
                    done += 1
                except TickworkError as error:
                    failed.append(Failure(id=run.id, error=str(error)))
            doing.after = {"done": done, "failed": len(failed)}
        return BulkResult(count=count, sample=sample, applied=True, done=done, failed=failed)

    def _found_runs(self, filters: RunFilter) -> Iterator[tuple[RunRecord, str]]:
        before: tuple[int, str] | None = None
        while page := self._find(filters, _PAGE, before):
            yield from page
            before = page[-1][0].created_us, page[-1][0].id

    def prune_runs(self, request: PruneRequest) -> PruneResult:
        """Forget runs that were over before an instant; or only count those made before it.

        Of those counted, runs that ended later stay.
        Finished tasks that nobody can mean any more go with them.

        Raises:
            CountChangedError: they aren't as many any more as `expected_count` says, if it does.
        """
        self._require(Action.RUNS_PRUNE, "runs")
        names = self.reach.names(request.store)
        filters = RunFilter(store=request.store, status=sorted(TERMINAL), until=request.before)
        count = self.count_runs(filters)
        if request.dry_run:
            return PruneResult(count=count, applied=False)
        if request.expected_count is not None:
            check_count(request.expected_count, count, "runs")
        said = request.model_dump(mode="json", exclude_unset=True)
        with self._doing(
            Action.RUNS_PRUNE, f"runs before {request.before.isoformat()}", said
        ) as it:
            gone = sum(self._prune(name, to_us(request.before)) for name in names)
            it.after = {"gone": gone}
        return PruneResult(count=count, applied=True, gone=gone)

    def _prune(self, store: str, before_us: int) -> int:
        gone = 0
        while some := self.reach.stores[store].prune(StorePruneRequest({}, before_us)):
            gone += some
        return gone


def _query(filters: RunFilter, limit: int = 100, before: tuple[int, str] | None = None) -> RunQuery:
    return RunQuery(
        task_id=filters.task,
        states=None if filters.status is None else frozenset(filters.status),
        source=filters.source,
        since_us=None if filters.since is None else to_us(filters.since),
        until_us=None if filters.until is None else to_us(filters.until),
        limit=limit,
        before=before,
        suspect=filters.suspect,
    )


def _is_sought(filters: RunFilter) -> bool:
    """Whether a store may have to look through all runs for the few that a filter finds."""
    if filters.suspect or (filters.status is not None and RunState.COMPLETED not in filters.status):
        return False
    return filters.source is not None or filters.status is not None


def _id(place: tuple[int, str]) -> str:
    return place[1]


def _place(cursor: str) -> tuple[int, str]:
    created_us, run_id = read_cursor(cursor, [int, str])
    if not isinstance(created_us, int) or not isinstance(run_id, str):
        raise InvalidInputError(f"cursor={cursor[:40]!r} is none that this list gave")
    return created_us, run_id
