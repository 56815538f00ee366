import asyncio
import threading

from tickwork.executors import InlineExecutor
from tickwork.model.jobs import Job
from tickwork.testing.executor_contract import (
    ExecutorContract,
    Reports,
    add_later,
    make_job,
    result_of,
)


class TestInlineExecutor(ExecutorContract):
    def make_executor(self) -> InlineExecutor:
        return InlineExecutor()


def test_jobs_are_done_when_start_returns() -> None:
    executor, reports = InlineExecutor(), Reports()
    executor.open(reports.environment())
    assert executor.reserve(3) == 3
    executor.start([Job(str(n), "task", 1, threading.current_thread) for n in range(3)])
    assert [result_of(outcome) for outcome in reports.outcomes] == [threading.current_thread()] * 3
    executor.stop(0)


def test_a_coroutine_runs_also_where_the_caller_stands_on_a_loop() -> None:
    executor, reports = InlineExecutor(), Reports()
    executor.open(reports.environment())

    async def application() -> None:
        assert executor.reserve(1) == 1
        executor.start([make_job(add_later, 2, 3)])

    asyncio.run(application())
    assert [result_of(outcome) for outcome in reports.outcomes] == [5]
    executor.stop(0)
