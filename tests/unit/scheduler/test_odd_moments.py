"""Runs that are ended, awaited or changed at odd moments."""

import asyncio
import threading
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home, tick
from tickwork import (
    SchedulerConfig,
    SchedulerStateError,
    StoreUnavailableError,
    TaskConfigurationError,
    WaitTimeoutError,
)
from tickwork.executors.inline import InlineExecutor
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.scheduler.awaiting import Awaited
from tickwork.stores.memory import MemoryStore
from tickwork.testing import Fault, FaultyStore, ManualClock, SteppedScheduler

PATIENCE_S = 10


def test_runs_keep_their_executor_when_that_of_their_task_changes(home: Home) -> None:
    executors = {"one": InlineExecutor(), "two": InlineExecutor()}
    scheduler = home.start(executors=executors, config=SchedulerConfig(max_concurrent_runs=5))
    task = scheduler.add_task(jobs.note, "interval", hours=1, id="task", executor="one")
    scheduler.pause()
    run = task.run()
    task.update(executor="two")
    scheduler.resume()
    scheduler.step()
    info = scheduler.get_run(run.id)
    assert (info.status, info.executor, jobs.calls) == ("completed", "one", [()])


def test_a_stop_wakes_those_who_wait_and_calls_nobody(home: Home) -> None:
    scheduler = home.start()
    run = scheduler.options(start_in=60).submit(jobs.note)
    told: list[Any] = []
    run.add_done_callback(told.append)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            run.wait(PATIENCE_S)
        except SchedulerStateError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not scheduler._awaited._waits[run.id].sleepers:  # noqa: SLF001  that it waits shows nowhere else
        waiting.join(0.01)
    scheduler.stop()
    waiting.join(PATIENCE_S)
    assert [type(error) for error in errors] == [SchedulerStateError]
    assert told == []
    scheduler.start()
    scheduler.advance(seconds=60)
    assert told == [run]


def test_a_run_may_wait_for_another(home: Home) -> None:
    scheduler = home.start(executors={"threadpool": ThreadPoolExecutor(max_workers=4)})

    def outer() -> Any:
        return scheduler.options(store="local").submit(lambda: 42).wait(PATIENCE_S).result

    run = scheduler.options(store="local").submit(outer)
    scheduler.step()
    assert run.result == 42


def test_deadlines_of_runs_that_have_ended_are_forgotten() -> None:
    config = SchedulerConfig(default_timeout=3_600)
    with SteppedScheduler(config=config, executors={"inline": InlineExecutor()}) as scheduler:
        scheduler.add_task(jobs.note, "interval", seconds=1, executor="inline")
        scheduler.advance(seconds=2_500)
        loop = scheduler._loops()[0]  # noqa: SLF001  what it remembers shows nowhere else
        deadlines = loop._endings._deadlines  # noqa: SLF001
    assert len(jobs.calls) == 2_500
    assert len(deadlines) <= 1_001


def test_a_cancelled_thread_that_was_timed_out_is_not_tried_again(home: Home) -> None:
    scheduler = home.start(hang_s=0.1)
    run = scheduler.options(timeout=5, retries=3, delay=3_600).submit(jobs.wait_for_go)
    scheduler.advance(seconds=6)
    assert run.status == "running"
    assert run.cancel("enough")
    scheduler.step()
    info = run.snapshot()
    assert (info.status, info.attempt) == ("cancelled", 1)
    jobs.go.set()
    _settle(scheduler, run.id)
    assert (scheduler.get_run(run.id).reason or "").startswith("enough; it couldn't be ended")


def test_a_run_has_its_grace_when_it_is_cancelled_at_its_timeout(home: Home) -> None:
    scheduler = home.start()
    run = scheduler.options(timeout=10).submit(_clean_up_slowly)
    tick(scheduler)
    home.clock.advance(seconds=9)
    run.cancel()
    tick(scheduler)
    home.clock.advance(seconds=2)
    tick(scheduler)
    assert run.status == "running"
    jobs.go.set()
    scheduler.step()
    info = run.snapshot()
    assert (info.status, info.reason) == ("cancelled", "cancelled")


async def _clean_up_slowly() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(jobs.go.wait, PATIENCE_S)


def test_a_run_that_refuses_to_end_lingers_through_a_stop(home: Home) -> None:
    scheduler = home.start(hang_s=0.1)
    run = scheduler.options(timeout=10).submit(_clean_up_slowly)
    scheduler.advance(seconds=16)
    first = run.snapshot()
    assert (first.status, first.failures) == ("timeout", 1)
    scheduler.stop(timeout=0)
    jobs.go.set()
    with home.new().connect() as client:
        last = client.get_run(run.id)
    assert (last.failures, last.completed_at, len(last.errors)) == (1, first.completed_at, 1)


def test_a_delay_that_is_fixed_while_runs_go_on_stops_no_task(home: Home) -> None:
    scheduler = home.start(hang_s=0.1)
    task = scheduler.add_task(
        jobs.wait_for_go, "interval", minutes=1, id="task", max_instances=2, timeout=100_000
    )
    scheduler.advance(minutes=1)
    task.update(fixed_delay=True)
    scheduler.advance(minutes=1)
    jobs.go.set()
    scheduler.advance(minutes=5)
    assert task.next_run_time is not None
    assert task.next_run_time > scheduler.clock.now()
    assert len(jobs.calls) > 4


@pytest.mark.parametrize("wanted", [False, True])
def test_an_operators_word_on_starts_holds(home: Home, wanted: bool) -> None:
    for _ in range(2):
        scheduler = home.new()
        scheduler.task("interval", hours=1, run_on_startup=not wanted)(jobs.note)
        scheduler.start()
        scheduler.step()
        [task] = scheduler.get_tasks()
        scheduler.update_task(task.id, run_on_startup=wanted)
        scheduler.stop()
    # The first start goes by what was declared, the second by what was changed since.
    assert len(jobs.calls) == 1


def test_a_task_that_is_declared_after_the_start_runs_once(home: Home) -> None:
    scheduler = home.start()
    for _ in range(3):
        scheduler.add_task(
            jobs.note, "interval", hours=1, id="task", run_on_startup=True, replace_existing=True
        )
        scheduler.step()
    assert jobs.calls == [()]


def test_many_can_wait_on_one_loop(home: Home) -> None:
    scheduler = home.start()
    runs = [scheduler.options(start_in=60).submit(jobs.add, number) for number in range(100)]

    async def main() -> list[Any]:
        waits = [asyncio.ensure_future(run.aio.wait(PATIENCE_S)) for run in runs]
        late = asyncio.ensure_future(runs[0].aio.wait(0.01))
        with pytest.raises(WaitTimeoutError, match="isn't over"):
            await late
        await asyncio.to_thread(scheduler.advance, seconds=60)
        return [(await each).result for each in waits]

    assert asyncio.run(main()) == [number + 1 for number in range(100)]


def test_a_run_is_timed_out_while_the_store_is_down() -> None:
    clock = ManualClock()
    store = FaultyStore(MemoryStore())
    ended = threading.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with SteppedScheduler(store, clock=clock) as scheduler:
        scheduler.options(timeout=5, store="local").submit(jobs.note)
        task = scheduler.add_task(endless, timeout=5)
        tick(scheduler)
        store.script("beat", *[Fault.BEFORE] * 20)
        store.script("lease", *[Fault.BEFORE] * 20)
        clock.advance(seconds=5)
        tick(scheduler)
        assert ended.wait(PATIENCE_S)
        store.heal()
        scheduler.step()
        [run] = task.get_runs()
    assert run.status == "timeout"


def test_skipped_fires_do_not_cut_a_history_short(home: Home) -> None:
    config = SchedulerConfig(max_history=3, cleanup_interval=1)
    scheduler = home.start(config=config, hang_s=0.1)
    task = scheduler.add_task(
        jobs.wait_for_go, "interval", minutes=1, id="task", max_history=50, timeout=100_000
    )
    scheduler.advance(minutes=10)
    assert len(task.get_runs()) == 10


def test_a_wait_outlasts_a_store_that_fails_for_a_moment() -> None:
    store = FaultyStore(MemoryStore())
    with SteppedScheduler(store) as scheduler:
        run = scheduler.submit(jobs.add, 1)
        scheduler.step()
        store.script("get_run", *[Fault.BEFORE] * 3)
        assert run.wait(PATIENCE_S).result == 2


def test_a_wait_outlasts_a_look_that_fails_when_the_run_is_over() -> None:
    store = FaultyStore(MemoryStore())
    with SteppedScheduler(store) as scheduler:
        run = scheduler.options(start_in=60).submit(jobs.add, 1)
        results: list[Any] = []
        waiting = threading.Thread(target=lambda: results.append(run.wait(PATIENCE_S).result))
        waiting.start()
        while not scheduler._awaited:  # noqa: SLF001  that it waits shows nowhere else
            waiting.join(0.01)
        store.script("get_run", *[Fault.BEFORE] * 3)
        scheduler.advance(seconds=60)
        waiting.join(PATIENCE_S)
    assert results == [2]


def test_a_store_that_is_down_hides_no_run_of_another() -> None:
    store = FaultyStore(MemoryStore())
    with SteppedScheduler(stores={"default": store, "other": MemoryStore()}) as scheduler:
        run = scheduler.options(store="other", start_in=60).submit(jobs.add, 1)
        store.script("get_run", Fault.BEFORE)
        assert scheduler.cancel_run(run.id)
        store.script("get_run", Fault.BEFORE)
        with pytest.raises(StoreUnavailableError):
            scheduler.cancel_run("nothing")


def test_what_runs_say_wakes_the_loop_once() -> None:
    with SteppedScheduler() as scheduler:
        loop = scheduler._loops()[0]  # noqa: SLF001  as above
        runs = [scheduler.submit(jobs.wait_for_go) for _ in range(3)]
        tick(scheduler)
        held = loop.in_flight()
        loop.wake.clear()
        for each in held:
            each.progress = "{}"
            each.noted()
            assert loop.wake.is_set() is (each is held[0])
            loop.wake.clear()
        jobs.go.set()
        scheduler.step()
        assert {run.status for run in runs} == {"completed"}


def test_a_task_is_not_taken_for_a_function(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", hours=1, id="task")
    with pytest.raises(TaskConfigurationError, match=r"run\(\) executes it now"):
        scheduler.submit(task)


def test_those_who_wait_are_told_once() -> None:
    over: set[str] = set()
    awaited = Awaited(lambda run_id, _: run_id in over)
    told: list[str] = []
    done = threading.Event()
    awaited.add("a", lambda: told.append("a"), store="default")
    awaited.add("b", done.set, store="default", sleeps=True)
    awaited.disturb()
    assert (done.is_set(), told) == (True, [])
    done.clear()
    over.add("b")
    awaited.watch()
    assert done.wait(PATIENCE_S)
    awaited.ended("a")
    awaited.ended("a")
    assert (told, bool(awaited)) == (["a"], False)


def _settle(scheduler: SteppedScheduler, run_id: str) -> None:
    """Let a thread that was let go return, and its end be written."""
    turn = threading.Event()
    loops = scheduler._loops()  # noqa: SLF001  as above
    for _ in range(1_000):
        if not any(loop.has_any([run_id]) for loop in loops):
            return
        scheduler.step()
        turn.wait(0.01)
    raise AssertionError("it didn't return")
