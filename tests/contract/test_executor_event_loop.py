import asyncio
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tickwork.errors import SchedulerStateError
from tickwork.executors import AsyncIOExecutor
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState
from tickwork.testing.executor_contract import (
    DEADLINE_S,
    ExecutorContract,
    Gate,
    Reports,
    result_of,
    stand_at_gate_later,
)


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop in a thread, which counts how often it was called from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.thread = threading.Thread(target=self.run_forever)
        self.thread.start()

    def call_soon_threadsafe(  # type: ignore[override]  # whatever the arguments are
        self, *args: Any, **kwargs: Any
    ) -> asyncio.Handle:
        self.calls += 1
        return super().call_soon_threadsafe(*args, **kwargs)

    def halt(self) -> None:
        super().call_soon_threadsafe(self.stop)
        self.thread.join(DEADLINE_S)


async def all_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def loop() -> Iterator[CountingLoop]:
    loop = CountingLoop()
    yield loop
    if not loop.is_closed():
        loop.halt()
        # As `asyncio.run` does at its end: what was cancelled may clean up.
        loop.run_until_complete(all_others())
        loop.close()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def executor(loop: CountingLoop, reports: Reports) -> Iterator[AsyncIOExecutor]:
    executor = AsyncIOExecutor()
    executor.open(reports.environment(loop))
    yield executor
    executor.stop(0)


class TestOnALoopOfItsOwn(ExecutorContract):
    def make_executor(self) -> AsyncIOExecutor:
        return AsyncIOExecutor()

    def gate_function(self) -> Callable[[int], Any]:
        return stand_at_gate_later


class TestOnTheApplicationsLoop(TestOnALoopOfItsOwn):
    @pytest.fixture(autouse=True)
    def _lend(self, loop: CountingLoop) -> None:
        self._loop = loop

    def event_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop


def job_of(target: Callable[..., Any], *args: Any) -> Job:
    return Job(run_id=f"run-{id(object())}", task_id="task", attempt=1, target=target, args=args)


def hand_over(executor: AsyncIOExecutor, jobs: Sequence[Job]) -> None:
    assert executor.reserve(len(jobs)) == len(jobs)
    executor.start(jobs)


async def nothing() -> None:
    pass


def test_a_batch_wakes_the_loop_once(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    hand_over(executor, [job_of(nothing) for _ in range(1_000)])
    reports.wait_for(1_000)
    assert loop.calls == 1


def test_outcomes_come_in_few_reports(executor: AsyncIOExecutor, reports: Reports) -> None:
    sizes: list[int] = []
    reports.on_report = lambda outcomes: sizes.append(len(outcomes))
    hand_over(executor, [job_of(nothing) for _ in range(64)])
    reports.wait_for(64)
    assert sizes == [64]


def test_a_long_batch_leaves_turns_to_the_application(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    started = 0
    seen: list[int] = []

    async def count() -> None:
        nonlocal started
        started += 1

    def look() -> None:
        seen.append(started)
        if started < 1_000:
            loop.call_soon(look)

    loop.call_soon_threadsafe(look)
    hand_over(executor, [job_of(count) for _ in range(1_000)])
    reports.wait_for(1_000)
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 64


def test_each_job_is_a_task_of_its_own(executor: AsyncIOExecutor, reports: Reports) -> None:
    async def task() -> object:
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
        return asyncio.current_task()

    hand_over(executor, [job_of(task) for _ in range(10)])
    assert len({result_of(outcome) for outcome in reports.wait_for(10)}) == 10


def test_a_plain_function_runs_on_the_loops_thread(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    hand_over(executor, [job_of(threading.current_thread)])
    assert result_of(reports.wait_for(1)[0]) is loop.thread


def test_a_task_cancelled_before_its_first_step_is_reported(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    def cancel_all() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    # A plain function, the first task of its slice, cancels the others before they can begin.
    hand_over(executor, [job_of(cancel_all), *[job_of(nothing) for _ in range(20)]])
    states = [outcome.state for outcome in reports.wait_for(21)]
    assert states.count(RunState.CANCELLED) == 20
    assert states.count(RunState.COMPLETED) == 1


def test_a_waiting_job_can_be_cancelled(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait(DEADLINE_S)

    last = job_of(nothing)
    hand_over(executor, [job_of(hold), *[job_of(nothing) for _ in range(100)], last])
    assert held.wait(DEADLINE_S)
    assert executor.cancel(last.run_id)
    go_on.set()
    reports.wait_for(102)
    assert reports.by_run()[last.run_id].state is RunState.CANCELLED
    assert not last.started_us


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_the_loop_survives_what_asyncio_lets_out(
    executor: AsyncIOExecutor, reports: Reports, error: type[BaseException]
) -> None:
    async def leave() -> None:
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
        raise error

    hand_over(executor, [job_of(leave)])
    assert reports.wait_for(1)[0].state is RunState.FAILED
    hand_over(executor, [job_of(nothing)])
    assert reports.wait_for(2)[1].state is RunState.COMPLETED


def test_a_loop_of_its_own_survives_a_callback_that_leaves(reports: Reports) -> None:
    def leave() -> None:
        raise SystemExit

    async def leave_behind() -> None:
        asyncio.get_running_loop().call_soon(leave)

    executor = AsyncIOExecutor()
    executor.open(reports.environment())
    hand_over(executor, [job_of(leave_behind)])
    reports.wait_for(1)
    hand_over(executor, [job_of(nothing)])
    assert reports.wait_for(2)[1].state is RunState.COMPLETED
    assert executor.stop(DEADLINE_S).running == []


def test_jobs_for_a_closed_loop_fail(loop: CountingLoop, reports: Reports) -> None:
    executor = AsyncIOExecutor()
    executor.open(reports.environment(loop))
    assert executor.reserve(3) == 3
    loop.halt()
    loop.close()
    executor.start([job_of(nothing) for _ in range(3)])
    errors = [outcome.error for outcome in reports.wait_for(3)]
    assert [error.type for error in errors if error] == ["EventLoopClosed"] * 3
    assert executor.reserve(1) == executor.idle() == 0
    assert executor.stop(DEADLINE_S).unstarted == []


def test_what_a_closed_loop_took_with_it_fails(loop: CountingLoop, reports: Reports) -> None:
    executor = AsyncIOExecutor()
    executor.open(reports.environment(loop))
    loop.halt()
    jobs = [job_of(nothing) for _ in range(3)]
    hand_over(executor, jobs)
    loop.close()
    assert executor.reserve(1) == 0
    assert {outcome.state for outcome in reports.wait_for(3)} == {RunState.FAILED}
    assert executor.stop(DEADLINE_S).unstarted == []


def test_jobs_for_a_stopped_loop_stay_unstarted(loop: CountingLoop, reports: Reports) -> None:
    executor = AsyncIOExecutor()
    executor.open(reports.environment(loop))
    loop.halt()
    jobs = [job_of(nothing) for _ in range(3)]
    hand_over(executor, jobs)
    assert executor.stop(DEADLINE_S) == (jobs, [])
    assert reports.outcomes == []


def test_an_application_that_ends_cancels_its_jobs(reports: Reports) -> None:
    executor = AsyncIOExecutor()

    async def application() -> None:
        executor.open(reports.environment(asyncio.get_running_loop()))
        hand_over(executor, [job_of(asyncio.Event().wait) for _ in range(100)])
        for _ in range(5):
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop

    asyncio.run(application())
    assert {outcome.state for outcome in reports.wait_for(100)} == {RunState.CANCELLED}
    assert executor.stop(DEADLINE_S) == ([], [])


def test_what_is_left_at_a_stop_is_cancelled(executor: AsyncIOExecutor, reports: Reports) -> None:
    cleaned = threading.Event()

    async def wait(gate: Gate) -> None:
        try:
            await stand_at_gate_later(gate.port)
        finally:
            cleaned.set()

    with Gate() as gate:
        hand_over(executor, [job_of(wait, gate)])
        gate.wait_for(1)
        assert len(executor.stop(0).running) == 1
        assert cleaned.wait(DEADLINE_S)
    assert reports.outcomes == []


def test_stop_refuses_to_wait_on_the_loop_that_runs_the_jobs(
    executor: AsyncIOExecutor, reports: Reports
) -> None:
    def stop() -> None:
        with pytest.raises(SchedulerStateError, match=r"await scheduler\.aio\.stop"):
            executor.stop(1)

    hand_over(executor, [job_of(stop)])
    result_of(reports.wait_for(1)[0])


def test_a_receiver_that_raises_stops_only_itself(
    executor: AsyncIOExecutor, reports: Reports
) -> None:
    def refuse(outcomes: Sequence[Outcome]) -> None:
        reports.on_report = lambda _: None
        refused.set()
        raise ValueError(outcomes)

    refused = threading.Event()
    reports.on_report = refuse
    hand_over(executor, [job_of(nothing)])
    assert refused.wait(DEADLINE_S)
    hand_over(executor, [job_of(nothing)])
    assert reports.wait_for(1)[0].state is RunState.COMPLETED


def test_tasks_are_made_by_the_applications_factory(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, body: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(body, loop=loop))
        return made[-1]

    async def task() -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    loop.set_task_factory(factory)
    hand_over(executor, [job_of(task)])
    assert [result_of(outcome) for outcome in reports.wait_for(1)] == made


def test_a_factory_that_fails_fails_the_run(
    executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
) -> None:
    def factory(*_: Any, **__: Any) -> asyncio.Task[Any]:
        raise LookupError

    loop.set_task_factory(factory)
    hand_over(executor, [job_of(nothing)])
    assert reports.wait_for(1)[0].state is RunState.FAILED
    loop.set_task_factory(None)
    hand_over(executor, [job_of(nothing)])
    assert reports.wait_for(2)[1].state is RunState.COMPLETED


if sys.version_info >= (3, 12):

    def test_tasks_that_end_before_they_are_known_are_reported(
        executor: AsyncIOExecutor, loop: CountingLoop, reports: Reports
    ) -> None:
        loop.set_task_factory(asyncio.eager_task_factory)
        hand_over(executor, [job_of(nothing) for _ in range(100)])
        reports.wait_for(100)
        assert executor.stop(DEADLINE_S) == ([], [])
