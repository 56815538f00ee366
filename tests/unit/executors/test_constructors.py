from collections.abc import Callable
from typing import Any

import pytest

from tickwork.errors import InvalidInputError, SchedulerStateError
from tickwork.executors import (
    AsyncIOExecutor,
    InlineExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from tickwork.interfaces import Cancelling
from tickwork.model.jobs import Job
from tickwork.testing.executor_contract import Reports


@pytest.mark.parametrize("make", [AsyncIOExecutor, ThreadPoolExecutor, ProcessPoolExecutor])
@pytest.mark.parametrize("limit", [0, -1, True, False, 1.0, "4", float("nan")])
def test_senseless_limits_are_refused(make: Callable[[Any], object], limit: object) -> None:
    with pytest.raises(InvalidInputError, match="whole number of at least 1"):
        make(limit)


def test_kinds_are_the_aliases() -> None:
    makers = [AsyncIOExecutor, ThreadPoolExecutor, ProcessPoolExecutor, InlineExecutor]
    kinds = ["asyncio", "threadpool", "processpool", "inline"]
    assert [make().kind for make in makers] == kinds


def test_only_threads_and_callers_can_not_be_ended() -> None:
    makers = [AsyncIOExecutor, ThreadPoolExecutor, ProcessPoolExecutor, InlineExecutor]
    assert [make().ends_running for make in makers] == [True, False, True, False]
    assert [isinstance(make(), Cancelling) for make in makers] == [True, True, True, False]


def test_an_executor_that_is_not_open_has_no_places() -> None:
    executor = InlineExecutor()
    assert executor.reserve(1) == executor.idle() == 0
    executor.release(1)
    assert executor.stop(0) == ([], [])
    with pytest.raises(SchedulerStateError, match="not open"):
        executor.start([Job("1", "task", 1, print)])


def test_an_executor_belongs_to_one_scheduler() -> None:
    executor = InlineExecutor()
    executor.open(Reports().environment())
    with pytest.raises(SchedulerStateError, match="one of its own"):
        executor.open(Reports().environment())
    executor.stop(0)


def test_places_that_were_not_reserved_are_refused() -> None:
    executor, reports = InlineExecutor(), Reports()
    executor.open(reports.environment())
    assert executor.reserve(1) == 1
    jobs = [Job(str(number), "task", 1, int) for number in range(2)]
    with pytest.raises(SchedulerStateError, match="only 1 are reserved"):
        executor.start(jobs)
    with pytest.raises(SchedulerStateError, match="only 1 are reserved"):
        executor.release(2)
    assert reports.outcomes == []
    executor.start(jobs[:1])
    assert len(reports.outcomes) == 1
    executor.stop(0)
