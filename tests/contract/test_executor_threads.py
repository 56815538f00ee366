import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tickwork.executors import ThreadPoolExecutor, prefetch
from tickwork.model.jobs import Job
from tickwork.model.policies import RunState
from tickwork.testing.executor_contract import (
    DEADLINE_S,
    ExecutorContract,
    Gate,
    Reports,
    make_job,
    result_of,
    stand_at_gate,
)


class TestThreadPoolExecutor(ExecutorContract):
    def make_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor()


class TestOneThread(ExecutorContract):
    def make_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)


def nothing() -> None:
    pass


def hand_over(executor: ThreadPoolExecutor, *jobs: Job) -> None:
    assert executor.reserve(len(jobs)) == len(jobs)
    executor.start(jobs)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def opened(reports: Reports) -> Iterator[Callable[[int], ThreadPoolExecutor]]:
    made: list[ThreadPoolExecutor] = []

    def make(workers: int) -> ThreadPoolExecutor:
        made.append(ThreadPoolExecutor(workers))
        made[-1].open(reports.environment())
        return made[-1]

    yield make
    for executor in made:
        executor.stop(DEADLINE_S)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have jobs wait for as long as a test wants them to."""
    monkeypatch.setattr(prefetch, "MOMENT_S", 1e6)


def test_all_threads_work_side_by_side(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    executor = opened(5)
    together = threading.Barrier(5)

    def meet() -> int:
        return together.wait(DEADLINE_S)

    hand_over(executor, *[Job(str(n), "task", 1, meet) for n in range(5)])
    assert sorted(map(result_of, reports.wait_for(5))) == [0, 1, 2, 3, 4]


def test_long_jobs_are_not_hoarded(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    executor = opened(2)
    with Gate() as gate:
        jobs: list[Job] = [make_job(stand_at_gate, gate.port) for _ in range(500)]
        hand_over(executor, *jobs)
        gate.wait_for(2)
        back = reports.wait_for(498)
        assert {each.job for each in back} == set(jobs[2:])
        assert {(each.state, each.started_us) for each in back} == {(RunState.CANCELLED, 0)}
        assert [job.withdrawn for job in jobs] == [False] * 2 + [True] * 498
        assert executor.reserve(10) == 0
        assert executor.idle() == 0
    reports.wait_for(500)
    assert executor.reserve(10) == 2


def test_what_must_stay_is_not_given_back(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    class Staying(Job):
        def withdraw(self) -> bool:
            return False

    executor = opened(1)
    with Gate() as gate:
        hand_over(executor, make_job(stand_at_gate, gate.port))
        gate.wait_for(1)
        jobs = [Staying(str(n), "task", 1, nothing) for n in range(3)]
        others = [make_job(nothing) for _ in range(3)]
        mixed = [each for pair in zip(jobs, others, strict=True) for each in pair]
        hand_over(executor, *mixed)
        assert {each.job for each in reports.wait_for(3)} == set(others)
        assert executor.reserve(10) == 0
    assert [each.job for each in reports.wait_for(7)][-3:] == jobs


def test_all_workers_are_up_for_jobs_that_block(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    executor = opened(5)
    for turn in range(1, 11):
        together = threading.Barrier(5)
        hand_over(
            executor, *[Job(str(n), "task", 1, together.wait, (DEADLINE_S,)) for n in range(5)]
        )
        assert sorted(map(result_of, reports.wait_for(5 * turn)[-5:])) == [0, 1, 2, 3, 4]


# Behind many others it is not reported as soon as it has ended.
@pytest.mark.parametrize("others", [0, 6])
@pytest.mark.usefixtures("patient")
def test_an_outcome_never_waits_for_the_end_of_another_job(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports, others: int
) -> None:
    executor = opened(1)
    with Gate() as gate:
        first, second = make_job(nothing), make_job(stand_at_gate, gate.port)
        hand_over(executor, first, second, *[make_job(nothing) for _ in range(others)])
        gate.wait_for(1)
        assert [each.job for each in reports.wait_for(1)] == [first]
        assert executor.idle() == 0
    reports.wait_for(2 + others)


@pytest.mark.usefixtures("patient")
def test_waiting_jobs_are_returned_unstarted(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    executor = opened(1)
    with Gate() as gate:
        jobs = [make_job(stand_at_gate, gate.port), make_job(nothing)]
        hand_over(executor, *jobs)
        gate.wait_for(1)
        assert executor.stop(0) == (jobs[1:], jobs[:1])
    assert reports.outcomes == []


@pytest.mark.usefixtures("patient")
def test_a_waiting_job_can_be_cancelled_a_running_one_not(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    executor = opened(1)
    with Gate() as gate:
        jobs = [make_job(stand_at_gate, gate.port), make_job(nothing), make_job(nothing)]
        free = executor.reserve(10**9)
        executor.release(free - len(jobs))
        executor.start(jobs)
        gate.wait_for(1)
        assert executor.cancel(jobs[1].run_id)
        outcome = reports.wait_for(1)[-1]
        assert (outcome.job, outcome.state) == (jobs[1], RunState.CANCELLED)
        assert outcome.started_us == jobs[1].started_us == 0
        assert not executor.cancel(jobs[1].run_id)
        assert not executor.cancel(jobs[0].run_id)
        # The waiting one's place is free, and only that.
        assert executor.reserve(10**9) == free - 2
        executor.release(free - 2)
    last = reports.wait_for(3)[-2:]
    assert [(each.job, each.state) for each in last] == [
        (jobs[0], RunState.COMPLETED),
        (jobs[2], RunState.COMPLETED),
    ]
    assert executor.stop(DEADLINE_S) == ([], [])


def test_a_coroutine_runs_on_a_loop_of_its_own(
    opened: Callable[[int], ThreadPoolExecutor], reports: Reports
) -> None:
    async def loop() -> Any:
        return asyncio.get_running_loop()

    hand_over(opened(1), Job("1", "task", 1, loop))
    assert result_of(reports.wait_for(1)[0]).is_closed()


def test_no_thread_is_left_after_a_stop(reports: Reports) -> None:
    before = set(threading.enumerate())
    executor = ThreadPoolExecutor(3)
    executor.open(reports.environment())
    assert len(set(threading.enumerate()) - before) == 4
    executor.stop(DEADLINE_S)
    assert set(threading.enumerate()) <= before
