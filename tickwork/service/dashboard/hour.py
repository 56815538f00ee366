"""The last hour in numbers: runs per minute, and how late they started.

Runs are read newest first, page by page, and at most so many: where more ran, what is shown begins
later than an hour ago and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tickwork.model.instants import SECOND, from_us, to_us
from tickwork.model.listing import FAILURES
from tickwork.model.records import RunRecord
from tickwork.model.steps import RunQuery
from tickwork.service.operations import Operations
from tickwork.service.roles import Action

__all__ = ["LastHour", "Minute", "last_hour", "percentile"]

_MOST = 2_000
_PAGE = 500
_MINUTES = 60


class Minute(NamedTuple):
    """A minute: when it began, the runs made in it, and how late they started, in seconds."""

    at: datetime
    runs: int
    failed: int
    p50: float | None
    p95: float | None
    p99: float | None


class LastHour(NamedTuple):
    """The minutes of an hour, and the same of all of it; `whole` unless there were too many."""

    minutes: list[Minute]
    runs: int
    failed: int
    p50: float | None
    p95: float | None
    p99: float | None
    whole: bool
    since: datetime


def last_hour(operations: Operations, now: datetime) -> LastHour:
    """Return the last hour of all stores together."""
    operations.actor.require(Action.RUNS_LIST)
    since = now.replace(second=0, microsecond=0) - timedelta(minutes=_MINUTES - 1)
    found = list(_runs(operations, to_us(since)))
    whole = len(found) < _MOST
    if not whole:
        since = from_us(min(run.created_us for run in found)).replace(second=0, microsecond=0)
    ended = [run for run in found if run.started_us is not None or run.state in FAILURES]
    lateness = _lateness(ended)
    return LastHour(
        minutes=_minutes(ended, since, now),
        runs=len(ended),
        failed=sum(run.state in FAILURES for run in ended),
        p50=percentile(lateness, 50),
        p95=percentile(lateness, 95),
        p99=percentile(lateness, 99),
        whole=whole,
        since=since,
    )


def _runs(operations: Operations, since_us: int) -> Iterator[RunRecord]:
    left = _MOST
    for name in operations.reach.names(None):
        reader = operations.reach.reader(name)
        before: tuple[int, str] | None = None
        while left > 0:
            # Not asked for by time: a store would look through all older ones for the last page.
            query = RunQuery(limit=min(_PAGE, left), before=before)
            page = reader.find_runs(query)
            yield from (run for run in page if run.created_us >= since_us)
            left -= len(page)
            if len(page) < query.limit or page[-1].created_us < since_us:
                break
            before = page[-1].created_us, page[-1].id


def _minutes(runs: Sequence[RunRecord], since: datetime, now: datetime) -> list[Minute]:
    first_us = to_us(since)
    count = (to_us(now) - first_us) // (60 * SECOND) + 1
    by_minute: list[list[RunRecord]] = [[] for _ in range(count)]
    for run in runs:
        place = (run.created_us - first_us) // (60 * SECOND)
        if 0 <= place < count:
            by_minute[place].append(run)
    return [_minute(since + timedelta(minutes=at), each) for at, each in enumerate(by_minute)]


def _minute(at: datetime, runs: Sequence[RunRecord]) -> Minute:
    lateness = _lateness(runs)
    return Minute(
        at,
        len(runs),
        sum(run.state in FAILURES for run in runs),
        percentile(lateness, 50),
        percentile(lateness, 95),
        percentile(lateness, 99),
    )


def _lateness(runs: Sequence[RunRecord]) -> list[float]:
    return sorted(
        max(run.started_us - run.due_us, 0) / SECOND
        for run in runs
        if run.started_us is not None and run.due_us is not None
    )


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the value that so many percent of sorted values don't exceed; None of none."""
    if not values:
        return None
    return values[max(math.ceil(len(values) * percent / 100) - 1, 0)]
