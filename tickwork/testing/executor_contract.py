"""What every executor must do, as tests: subclass `ExecutorContract`, say how one is made, run it.

The methods named `test_...` know no test framework. Whatever the executor, the functions of the
jobs live at the top of this module, since some executors only take what they can import. Nothing
here sleeps: a job that must not end yet stands at a `Gate`, which works across processes too, and
whoever waits, waits for a signal with a deadline.
"""

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition, Event, Thread
from typing import Any, Self
from uuid import uuid4

from tickwork.errors import TaskError
from tickwork.interfaces import Cancelling, Executor, ExecutorEnvironment
from tickwork.model.functions import reference_of
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState
from tickwork.model.values import decode_result, encode_arguments

__all__ = ["DEADLINE_S", "ExecutorContract", "Gate", "Reports", "make_job", "result_of"]

DEADLINE_S = 30.0
"""How long anything is waited for before the test fails."""

_MANY = 1_000
_seen: ContextVar[str] = ContextVar("seen", default="nothing")


# -- what the jobs do


def add(left: int, right: int = 0) -> int:
    """Return a sum."""
    return left + right


async def add_later(left: int, right: int = 0) -> int:
    """Return a sum, some turns of the event loop later."""
    for _ in range(3):
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, no time passes
    return left + right


def look_and_leave(word: str) -> str:
    """Return what the context holds and leave something there."""
    found = _seen.get()
    _seen.set(word)
    return found


async def look_and_leave_later(word: str) -> str:
    """Return what the context holds after others had their turn, and leave something there."""
    await add_later(0)
    return look_and_leave(word)


class Unspeakable(Exception):  # noqa: N818 - a name to be found in a message
    """An error that can't even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail(how: str) -> None:
    """Raise what is asked for."""
    errors: dict[str, BaseException] = {
        "value": ValueError("wrong \0 \ud800"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "unspeakable": Unspeakable(),
        "task": TaskError("no_stock", "sold out", {"left": 0, "odd": {1, 2}}),
        "cancelled": asyncio.CancelledError(),
        "stop_iteration": StopIteration(1),
    }
    raise errors[how]


async def fail_later(how: str) -> None:
    """Raise what is asked for, some turns of the event loop later."""
    await add_later(0)
    fail(how)


def stand_at_gate(port: int) -> str:
    """Return when the gate is opened; blocks the thread until then."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as line:
        line.recv(1)
    return "passed"


async def stand_at_gate_later(port: int) -> str:
    """Return when the gate is opened; lets the event loop go on until then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.read(1)
    finally:
        writer.close()
    return "passed"


class Gate:
    """A place where jobs wait to be let on: `stand_at_gate(gate.port)`."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(DEADLINE_S)
        self._lines: list[socket.socket] = []
        self.port: int = self._door.getsockname()[1]

    def wait_for(self, count: int) -> None:
        """Wait until `count` more jobs stand here."""
        self._lines.extend(self._door.accept()[0] for _ in range(count))

    def is_left(self) -> bool:
        """Wait until the first job that came is gone, without having been let on."""
        self._lines[0].settimeout(DEADLINE_S)
        try:
            return self._lines[0].recv(1) == b""
        except ConnectionError:
            return True

    def open(self) -> None:
        """Let all jobs on, those still to come included."""
        self._door.close()
        for line in self._lines:
            line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()


# -- what the tests need


class Reports:
    """The receiver of outcomes, and a clock that counts how often it is read."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.on_report: Callable[[Sequence[Outcome]], None] = lambda _: None
        self._changed = Condition()
        self._clock = itertools.count(1_000_000)

    def environment(self, loop: asyncio.AbstractEventLoop | None = None) -> ExecutorEnvironment:
        """Return what to open an executor with."""
        return ExecutorEnvironment(lambda: next(self._clock), self.report, loop)

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes."""
        self.on_report(outcomes)
        with self._changed:
            self.outcomes.extend(outcomes)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Outcome]:
        """Wait until there are `count` outcomes, and return exactly these."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.outcomes) >= count, DEADLINE_S)
            assert arrived, f"{len(self.outcomes)} of {count} outcomes after {DEADLINE_S} s"
            assert len(self.outcomes) == count
            return list(self.outcomes)

    def by_run(self) -> dict[str, Outcome]:
        """Return the outcomes by the ids of their runs."""
        return {outcome.job.run_id: outcome for outcome in self.outcomes}


def make_job(function: Callable[..., Any], *args: Any) -> Job:
    """Return a job that any executor can run, of a function at the top level of a module."""
    return Job(
        run_id=uuid4().hex,
        task_id="task",
        attempt=1,
        target=function,
        args=args,
        reference=reference_of(function),
        payload=encode_arguments(args, {}, function),
    )


def result_of(outcome: Outcome) -> Any:
    """Return the result of a completed job."""
    assert outcome.state is RunState.COMPLETED, outcome
    if not outcome.encoded:
        return outcome.result
    assert isinstance(outcome.result, str), outcome
    return decode_result(outcome.result)


def _hand_over(executor: Executor, jobs: Sequence[Job], freed: Event) -> None:
    """Start all jobs, in as many batches as the executor has places for."""
    rest = list(jobs)
    while rest:
        granted = executor.reserve(len(rest))
        assert 0 <= granted <= len(rest)
        if granted:
            executor.start(rest[:granted])
            del rest[:granted]
        else:
            assert freed.wait(DEADLINE_S)
            freed.clear()


class ExecutorContract:
    """The contract of `tickwork.interfaces.Executor`."""

    def make_executor(self) -> Executor:
        """Return a new executor, not opened."""
        raise NotImplementedError

    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the application's event loop to lend to the executor, where it is to have one."""
        return None

    def gate_function(self) -> Callable[[int], Any]:
        """Return what stands at a gate: `stand_at_gate_later` where a plain one would block all."""
        return stand_at_gate

    @contextmanager
    def opened(self) -> Iterator[tuple[Executor, Reports]]:
        """Give an executor that is open, and the receiver of its outcomes; stop it at the end."""
        executor, reports = self.make_executor(), Reports()
        executor.open(reports.environment(self.event_loop()))
        try:
            yield executor, reports
        finally:
            executor.stop(DEADLINE_S)

    def outcomes_of(self, *jobs: Job) -> list[Outcome]:
        """Run jobs in an executor of their own and return their outcomes, in the order of jobs."""
        with self.opened() as (executor, reports):
            freed = Event()
            reports.on_report = lambda _: freed.set()
            _hand_over(executor, jobs, freed)
            reports.wait_for(len(jobs))
        found = reports.by_run()
        return [found[job.run_id] for job in jobs]

    @contextmanager
    def standing(self, executor: Executor, gate: Gate, count: int) -> Iterator[list[Job]]:
        """Give jobs that were handed over, the first of which stands at the gate."""
        jobs = [make_job(self.gate_function(), gate.port) for _ in range(count)]
        assert executor.reserve(count) == count
        # In a thread, for an executor may run its jobs in its caller's.
        starter = Thread(target=executor.start, args=(jobs,), daemon=True)
        starter.start()
        try:
            gate.wait_for(1)
            yield jobs
        finally:
            gate.open()
            starter.join(DEADLINE_S)

    # -- what comes back

    def test_it_is_an_executor_with_a_kind(self) -> None:
        """It has all methods, and a name for its kind."""
        executor = self.make_executor()
        assert isinstance(executor, Executor)
        assert executor.kind
        assert executor.kind == type(executor).kind

    def test_results_of_plain_functions_come_back(self) -> None:
        """Arguments arrive and the result returns."""
        [outcome] = self.outcomes_of(make_job(add, 2, 3))
        assert result_of(outcome) == 5
        assert outcome.error is None

    def test_results_of_coroutine_functions_come_back(self) -> None:
        """A coroutine is awaited, never returned."""
        [outcome] = self.outcomes_of(make_job(add_later, 2, 3))
        assert result_of(outcome) == 5

    def test_times_are_the_environments(self) -> None:
        """Start and end are read from the given clock, and the job knows its start."""
        [outcome] = self.outcomes_of(make_job(add, 1))
        assert 1_000_000 <= outcome.started_us <= outcome.finished_us
        assert outcome.job.started_us == outcome.started_us

    def test_errors_come_back_as_data(self) -> None:
        """Whatever is raised fails its own run only, and the executor goes on."""
        kinds = ["value", "exit", "interrupt", "unspeakable", "stop_iteration"]
        names = ["ValueError", "SystemExit", "KeyboardInterrupt", None, None]
        for function in (fail, fail_later):
            jobs = [make_job(function, kind) for kind in kinds]
            *failed, last = self.outcomes_of(*jobs, make_job(add, 1))
            for outcome, name in zip(failed, names, strict=True):
                assert outcome.state is RunState.FAILED, outcome
                assert outcome.error is not None
                assert name in {None, outcome.error.type}
                assert outcome.error.message.isprintable()
                assert not outcome.error.traceback.startswith("<no text")
            assert result_of(last) == 1

    def test_task_errors_keep_code_and_details(self) -> None:
        """A `TaskError` is stored structured; details that aren't JSON become text."""
        for function in (fail, fail_later):
            [outcome] = self.outcomes_of(make_job(function, "task"))
            assert outcome.state is RunState.FAILED
            assert outcome.error is not None
            assert (outcome.error.code, outcome.error.message) == ("no_stock", "sold out")
            assert outcome.error.details == {"left": 0, "odd": "{1, 2}"}

    def test_a_job_that_cancels_itself_is_cancelled(self) -> None:
        """A `CancelledError` raised inside is no failure."""
        jobs = [make_job(fail, "cancelled"), make_job(fail_later, "cancelled")]
        states = [outcome.state for outcome in self.outcomes_of(*jobs)]
        assert states == [RunState.CANCELLED] * 2

    def test_contexts_never_leak_into_each_other(self) -> None:
        """What a job sets in its context, no other job sees, before, beside or after it."""
        functions = [look_and_leave, look_and_leave_later] * 10
        jobs = [make_job(function, str(place)) for place, function in enumerate(functions)]
        assert {result_of(outcome) for outcome in self.outcomes_of(*jobs)} == {"nothing"}

    # -- places

    def test_each_of_many_jobs_is_reported_exactly_once(self) -> None:
        """Four threads hand over 1,000 jobs; each comes back once, none is left."""
        jobs = [make_job(add, number) for number in range(_MANY)]
        with self.opened() as (executor, reports):
            freed = [Event() for _ in range(4)]

            def tell_all(_: Sequence[Outcome]) -> None:
                for event in freed:
                    event.set()

            reports.on_report = tell_all
            feeders = [
                Thread(target=_hand_over, args=(executor, jobs[start::4], freed[start]))
                for start in range(4)
            ]
            for feeder in feeders:
                feeder.start()
            reports.wait_for(_MANY)
            for feeder in feeders:
                feeder.join(DEADLINE_S)
            leftover = executor.stop(DEADLINE_S)
        assert (leftover.unstarted, leftover.running) == ([], [])
        counts = Counter(outcome.job.run_id for outcome in reports.outcomes)
        assert counts == Counter(job.run_id for job in jobs)
        assert sorted(map(result_of, reports.outcomes)) == list(range(_MANY))

    def test_no_more_places_are_given_than_there_are(self) -> None:
        """Reserved places are counted, and given back places are there again, exactly."""
        with self.opened() as (executor, _):
            everything = executor.reserve(10**9)
            assert everything >= 1
            assert executor.reserve(1) == 0
            executor.release(1)
            assert executor.reserve(10**9) == 1
            executor.release(everything)
            assert executor.reserve(0) == 0
            assert executor.idle() >= 1

    def test_a_place_is_free_when_its_job_is_reported(self) -> None:
        """The receiver of an outcome can reserve the place at once, in the middle of the report."""
        with self.opened() as (executor, reports):
            granted: list[int] = []
            reports.on_report = lambda _: granted.append(executor.reserve(1))
            places = executor.reserve(10**9)
            executor.release(places - 1)
            assert executor.reserve(places - 1) == places - 1
            executor.start([make_job(add, 1)])
            reports.wait_for(1)
            assert granted == [1]

    # -- the end

    def test_stop_waits_for_what_runs(self) -> None:
        """A job that ends in time is reported before `stop` returns."""
        with self.opened() as (executor, reports), Gate() as gate:
            with self.standing(executor, gate, 1):
                opener = Thread(target=gate.open)
                opener.start()
                leftover = executor.stop(DEADLINE_S)
                opener.join(DEADLINE_S)
            assert (leftover.unstarted, leftover.running) == ([], [])
            assert [result_of(outcome) for outcome in reports.wait_for(1)] == ["passed"]

    def test_stop_returns_what_is_left_and_reports_no_more(self) -> None:
        """Each job handed over is in the leftover, and nothing is heard of it any more."""
        with self.opened() as (executor, reports), Gate() as gate:
            count = min(3, executor.idle())
            with self.standing(executor, gate, count) as jobs:
                leftover = executor.stop(0)
                left = Counter(job.run_id for job in [*leftover.unstarted, *leftover.running])
            assert left == Counter(job.run_id for job in jobs)
            assert jobs[0] in leftover.running
            assert reports.outcomes == []

    def test_stop_in_the_middle_accounts_for_each_job(self) -> None:
        """Reported, left over, or refused: each job is exactly one of these."""
        with self.opened() as (executor, reports):
            jobs = [make_job(add, number) for number in range(200)]
            first = Event()
            reports.on_report = lambda _: first.set()
            batch = jobs[: executor.reserve(len(jobs))]
            starter = Thread(target=executor.start, args=(batch,))
            starter.start()
            assert first.wait(DEADLINE_S)
            leftover = executor.stop(0)
            heard = [outcome.job for outcome in reports.outcomes]
            starter.join(DEADLINE_S)
        counts = Counter(job.run_id for job in [*heard, *leftover.unstarted, *leftover.running])
        assert counts == Counter(job.run_id for job in batch)
        assert len(reports.outcomes) == len(heard)

    def test_it_works_again_after_a_stop(self) -> None:
        """A stopped executor has no places; opened again it is as new, whatever was left over."""
        executor = self.make_executor()
        with Gate() as gate:
            former = Reports()
            executor.open(former.environment(self.event_loop()))
            with self.standing(executor, gate, 1):
                executor.stop(0)
                assert executor.reserve(1) == 0
                reports = Reports()
                executor.open(reports.environment(self.event_loop()))
                assert executor.reserve(1) == 1
                executor.start([make_job(add, 4)])
                assert result_of(reports.wait_for(1)[0]) == 4
        leftover = executor.stop(DEADLINE_S)
        assert (leftover.unstarted, leftover.running) == ([], [])
        assert former.outcomes == []
        assert len(reports.outcomes) == 1

    def test_an_idle_executor_stops_at_once(self) -> None:
        """There is nothing left, and stopping twice is harmless."""
        with self.opened() as (executor, _):
            leftover = executor.stop(DEADLINE_S)
            assert (leftover.unstarted, leftover.running) == ([], [])

    # -- the optional power

    def test_a_running_job_can_be_cancelled(self) -> None:
        """It is reported as cancelled and its place is free; others don't notice."""
        with self.opened() as (executor, reports), Gate() as gate:
            if not isinstance(executor, Cancelling):
                return
            with self.standing(executor, gate, 1) as [job]:
                assert not executor.cancel("no such run")
                assert executor.cancel(job.run_id)
                [outcome] = reports.wait_for(1)
                assert outcome.state is RunState.CANCELLED
                assert outcome.error is not None
            assert executor.reserve(1) == 1
            executor.start([make_job(add, 5)])
            assert result_of(reports.wait_for(2)[1]) == 5
