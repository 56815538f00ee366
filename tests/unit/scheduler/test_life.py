"""New, connected, started, paused, stopped; and what a stop leaves."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import queue
import subprocess
import sys
import textwrap
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home, tick
from tickwork import AsyncIOScheduler, Scheduler, SchedulerStateError
from tickwork.events import RunCompleted, SchedulerStopped
from tickwork.scheduler.loop import LoopSettings
from tickwork.scheduler.runtime import StopReport
from tickwork.testing import ManualClock, SteppedScheduler

ROOT = Path(__file__).parents[3]
PATIENCE_S = 10


# --- states -------------------------------------------------------------------------------------


def test_a_scheduler_goes_through_its_states_again_and_again(home: Home) -> None:
    scheduler = home.new()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    for times in (1, 2, 3):
        assert scheduler.state == "new"
        scheduler.start()
        assert scheduler.state == "started"
        scheduler.pause()
        assert scheduler.state == "paused"
        scheduler.resume()
        scheduler.advance(minutes=1)
        assert len(jobs.calls) == times
        assert task.snapshot().schedule_state == "scheduled"
        report = scheduler.stop()
        assert report.clean
        assert scheduler.stop().clean


def test_what_is_not_possible_in_a_state_is_said(home: Home) -> None:
    scheduler = home.new()
    for action in (scheduler.pause, scheduler.resume):
        with pytest.raises(SchedulerStateError, match=r"start\(paused=True\)"):
            action()
    scheduler.start()
    with pytest.raises(SchedulerStateError, match="started already"):
        scheduler.start()
    with pytest.raises(SchedulerStateError, match=r"stop\(\) closes"):
        scheduler.close()
    scheduler.connect()
    assert scheduler.state == "started"


def test_started_paused_fires_nothing_until_it_is_resumed(home: Home) -> None:
    scheduler = home.new()
    scheduler.start(paused=True)
    scheduler.add_task(jobs.note)
    scheduler.advance(minutes=5)
    assert (scheduler.state, jobs.calls) == ("paused", [])
    scheduler.resume()
    scheduler.step()
    assert jobs.calls == [()]


def test_with_starts_and_stops(home: Home) -> None:
    with home.new() as scheduler:
        scheduler.add_task(jobs.note)
        scheduler.step()
        assert scheduler.state == "started"
    assert (scheduler.state, jobs.calls) == ("new", [()])


def test_with_lets_the_error_of_its_body_out(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), home.new() as scheduler:
        raise ZeroDivisionError
    assert scheduler.state == "new"


def test_the_asyncio_scheduler_is_the_same() -> None:
    with AsyncIOScheduler() as scheduler:
        assert scheduler.state == "started"


# --- shutdown tasks -----------------------------------------------------------------------------


def test_shutdown_tasks_run_once_at_each_stop(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "shutdown", id="sync")
    scheduler.add_task(jobs.coroutine, "shutdown", id="async")
    scheduler.add_task(jobs.other, "shutdown", id="paused", paused=True)
    scheduler.advance(days=1)
    assert jobs.calls == []
    for times in (1, 2):
        assert scheduler.stop().clean
        assert len(jobs.calls) == 2 * times
        scheduler.start()
        scheduler.step()
        assert len(jobs.calls) == 2 * times
    assert {run.source for run in scheduler.get_runs()} == {"shutdown"}
    assert {run.status for run in scheduler.get_runs()} == {"completed"}
    assert scheduler.get_task("sync").schedule_state == "scheduled"


def test_a_paused_scheduler_runs_its_shutdown_tasks_too(home: Home) -> None:
    scheduler = home.new()
    scheduler.start(paused=True)
    scheduler.add_task(jobs.note, "shutdown")
    scheduler.add_task(jobs.other)
    began = time.monotonic()
    assert scheduler.stop(timeout=PATIENCE_S).clean
    assert time.monotonic() - began < PATIENCE_S / 2
    assert jobs.calls == [()]


def test_a_stop_that_does_not_wait_runs_no_shutdown_tasks_later_either(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "shutdown")
    scheduler.stop(wait=False)
    scheduler.start()
    scheduler.step()
    assert jobs.calls == []


def test_shutdown_tasks_that_fail_keep_nothing_from_stopping(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.fail, "shutdown", id="bad")
    scheduler.add_task(jobs.note, "shutdown", id="good")
    assert scheduler.stop().clean
    assert sorted(jobs.calls, key=str) == [(), "fail"]


def test_shutdown_tasks_that_have_no_time_left_are_not_done_at_the_next_start(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.forever, id="busy")
    scheduler.add_task(jobs.note, "shutdown", id="late")
    tick(scheduler)
    scheduler.stop(timeout=0.2)
    calls = list(jobs.calls)
    scheduler = home.new()
    scheduler.connect()
    scheduler.remove_task("busy")
    scheduler.start()
    scheduler.step()
    assert jobs.calls == calls


# --- stopping in the middle of work -------------------------------------------------------------


def test_a_stop_waits_for_what_is_under_way(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.wait_for_go)
    tick(scheduler)
    threading.Timer(0.1, jobs.go.set).start()
    assert scheduler.stop(timeout=PATIENCE_S).clean
    assert jobs.calls == ["waiting", "went"]
    with scheduler.connect():
        assert [run.status for run in task.get_runs()] == ["completed"]


def test_a_stop_that_does_not_wait_hurries_one_that_does(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.forever)
    scheduler.add_task(jobs.note, "shutdown")
    tick(scheduler)
    (run,) = task.get_runs()
    reports: list[StopReport] = []
    patient = threading.Thread(target=lambda: reports.append(scheduler.stop(timeout=10**6)))
    patient.start()
    assert scheduler._runtime is not None  # noqa: SLF001  whether the stop has begun shows nowhere else
    loop = scheduler._runtime.loops["default"]  # noqa: SLF001
    while not loop.draining:
        patient.join(0.01)
    assert scheduler.stop(wait=False).clean
    patient.join(PATIENCE_S)
    assert [report.given_back for report in reports] == [(run.id,)]
    assert jobs.calls == ["forever"]
    assert scheduler.state == "new"


def test_a_coroutine_that_is_stopped_in_the_middle_is_given_back(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.forever)
    tick(scheduler)
    report = scheduler.stop(timeout=0.1)
    (run,) = _runs(home, task.id)
    assert (report.given_back, report.still_running, report.clean) == ((run.id,), (), False)
    assert (run.status, run.attempt) == ("pending", 1)
    assert "stopped" in (run.reason or "")
    scheduler.start()
    tick(scheduler)
    (run,) = _runs(home, task.id)
    assert run.attempt == 2
    scheduler.stop(timeout=0.1)


def test_a_coroutine_that_must_not_run_twice_is_lost(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.forever, delivery="at_most_once")
    for _ in range(3):
        tick(scheduler)
    assert not scheduler.stop(timeout=0.1).clean
    (run,) = _runs(home, task.id)
    assert run.status == "lost"
    assert "at_most_once" in (run.reason or "")
    calls = list(jobs.calls)
    assert calls == ["forever"]
    scheduler.start()
    scheduler.step()
    assert jobs.calls == calls


def test_a_thread_that_is_stopped_in_the_middle_is_named(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.wait_for_go)
    tick(scheduler)
    report = scheduler.stop(timeout=0.1)
    (run,) = _runs(home, task.id)
    assert (report.given_back, report.still_running) == ((), (run.id,))
    jobs.go.set()


def test_what_has_not_begun_goes_back_as_if_it_had_never_been_leased(home: Home) -> None:
    scheduler = home.start(executors={"one": {"type": "threadpool", "max_workers": 1}})
    for number in range(5):
        scheduler.add_task(jobs.wait_for_go, id=str(number), executor="one")
    tick(scheduler)
    scheduler.stop(timeout=0.1)
    runs = [run for number in range(5) for run in _runs(home, str(number))]
    begun = [run for run in runs if run.attempt]
    assert len(runs) == 5
    assert len(begun) == jobs.calls.count("waiting") == 1
    assert {run.status for run in runs if not run.attempt} == {"pending"}
    jobs.go.set()


def test_a_stop_that_does_not_wait_returns_at_once(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.wait_for_go)
    tick(scheduler)
    began = time.monotonic()
    assert not scheduler.shutdown(wait=False).clean
    assert time.monotonic() - began < 2
    jobs.go.set()


def _runs(home: Home, task_id: str) -> list[Any]:
    with home.new().connect() as client:
        return client.get_runs(task=task_id)


# --- on an event loop ---------------------------------------------------------------------------


def test_stopping_on_the_loop_that_runs_the_runs_names_the_awaitable_form() -> None:
    async def use() -> None:
        scheduler = Scheduler().start()
        with pytest.raises(SchedulerStateError, match=r"await scheduler\.aio\.stop\(\)"):
            scheduler.stop()
        assert scheduler.state == "started"
        await scheduler.aio.stop()
        assert scheduler.state == "new"

    asyncio.run(use())


def test_with_on_a_running_loop_names_async_with() -> None:
    async def use() -> None:
        with pytest.raises(SchedulerStateError, match="async with scheduler"):
            Scheduler().__enter__()

    asyncio.run(use())


@pytest.mark.parametrize("way", ["async with", "start", "aio.start"])
def test_coroutines_run_on_the_loop_that_started_the_scheduler(way: str) -> None:
    async def use() -> None:
        found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def where() -> None:
            running = asyncio.get_running_loop()
            found.get_loop().call_soon_threadsafe(found.set_result, running)

        scheduler = Scheduler()
        if way == "async with":
            await scheduler.__aenter__()
        elif way == "start":
            scheduler.start()
        else:
            await scheduler.aio.start()
        scheduler.add_task(where)
        assert await asyncio.wait_for(found, PATIENCE_S) is asyncio.get_running_loop()
        await scheduler.aio.stop()

    asyncio.run(use())


def test_time_passes_for_a_stepped_scheduler_on_a_running_loop() -> None:
    async def use() -> None:
        async with SteppedScheduler() as scheduler:
            loops = []

            async def where() -> None:
                loops.append(asyncio.get_running_loop())

            scheduler.add_task(where, every="1m")
            await scheduler.aio.advance(minutes=3)
            assert loops == [asyncio.get_running_loop()] * 3

    asyncio.run(use())


def test_a_stop_without_waiting_does_not_block_the_loop() -> None:
    async def use() -> None:
        heard = asyncio.Event()

        async def listen(_: SchedulerStopped) -> None:
            heard.set()

        scheduler = Scheduler()
        scheduler.on(SchedulerStopped, listen)
        scheduler.start()
        began = time.monotonic()
        scheduler.stop(wait=False)
        assert time.monotonic() - began < 3
        await asyncio.wait_for(heard.wait(), PATIENCE_S)

    asyncio.run(use())


@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_a_run_that_stops_its_own_scheduler_is_told_what_to_do(kind: str) -> None:
    answers: list[BaseException | None] = []
    answered = threading.Event()

    def stop() -> None:
        try:
            scheduler.stop(timeout=0.3)
            answers.append(None)
        except SchedulerStateError as error:
            answers.append(error)
        answered.set()

    async def stop_async() -> None:
        stop()

    scheduler = Scheduler().start()
    scheduler.add_task(stop_async if kind == "coroutine" else stop)
    assert answered.wait(PATIENCE_S)
    (answer,) = answers
    assert "would wait for its own end; tell the main program to stop it" in str(answer)
    assert scheduler.state == "started"
    scheduler.stop(timeout=PATIENCE_S)
    assert scheduler.state == "new"


def test_a_real_scheduler_fires_and_stops() -> None:
    fired = threading.Event()
    with Scheduler() as scheduler:
        scheduler.add_task(fired.set)
        assert fired.wait(PATIENCE_S)
    with Scheduler(settings=LoopSettings()) as scheduler:
        fired.clear()
        scheduler.add_task(fired.set, every=0.05)
        assert fired.wait(PATIENCE_S)


# --- processes ----------------------------------------------------------------------------------


def start_in_child() -> str:
    try:
        Scheduler().start().stop()
    except SchedulerStateError as error:
        return str(error)
    return "started"


def test_a_child_of_a_process_pool_is_refused() -> None:
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert "child of a process pool" in pool.submit(start_in_child).result(30)


def test_a_child_of_our_own_process_pool_is_refused(memory_home: Home) -> None:
    scheduler = memory_home.start(patience_s=30)
    task = scheduler.add_task(
        "tests.unit.scheduler.test_life:start_in_child", executor="processpool"
    )
    scheduler.step()
    assert "in the main process only" in str(task.get_runs()[0].result)


def test_a_script_that_starts_without_a_main_guard_is_told_of_it(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        textwrap.dedent("""
            import multiprocessing
            from tickwork import Scheduler
            scheduler = Scheduler().start()
            child = multiprocessing.get_context("spawn").Process(target=print)
            child.start()
            child.join()
            print("child:", child.exitcode)
            scheduler.stop()
        """)
    )
    ended = subprocess.run(
        [sys.executable, "careless.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert "if __name__ == '__main__'" in ended.stderr
    assert "child: 1" in ended.stdout


FORKS = """
    import os, sys
    from tickwork import Scheduler
    import forked

    scheduler = Scheduler(sys.argv[1])
    scheduler.start()
    task = scheduler.add_task("forked:write", "interval", seconds=3600, id="a", args=["parent"])
    node = scheduler.snapshot().nodes
    child = os.fork()
    if not child:
        status = 1
        try:
            assert scheduler.state == "new", scheduler.state
            scheduler.start()
            assert scheduler.snapshot().nodes["default"] != node["default"]
            run = scheduler.add_task("forked:write", args=["child"], id="b")
            forked.wait("child")
            assert scheduler.stop().clean
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert scheduler.state == "started"
    task.run()
    forked.wait("parent")
    assert scheduler.stop().clean
"""

FORKED = """
    import os, threading, time

    def write(name):
        with open(f"{name}.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")

    def wait(name):
        until = time.monotonic() + 20
        while time.monotonic() < until and not os.path.exists(f"{name}.txt"):
            threading.Event().wait(0.01)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("store", ["memory://", "sqlite:///tasks.db"])
def test_a_forked_child_begins_anew(store: str, tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(textwrap.dedent(FORKS))
    (tmp_path / "forked.py").write_text(textwrap.dedent(FORKED))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "forks.py", store],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    children = (tmp_path / "child.txt").read_text().split()
    parents = (tmp_path / "parent.txt").read_text().split()
    assert (len(children), len(parents)) == (1, 1)
    assert children != parents


# --- with its threads, on a clock of a test -----------------------------------------------------


def test_threads_go_on_when_an_injected_clock_moves() -> None:
    """Such a clock wakes who waits for it; that doesn't mean that it is time to stop."""
    clock = ManualClock()
    start = clock.now()
    heard: queue.SimpleQueue[datetime | None] = queue.SimpleQueue()

    def tell(event: RunCompleted) -> None:
        heard.put(event.fire_time)

    with Scheduler(clock=clock) as scheduler:
        scheduler.on(RunCompleted, tell)
        scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
        for minutes in (1, 2, 3):
            clock.advance(minutes=1)
            assert heard.get(timeout=PATIENCE_S) == start + timedelta(minutes=minutes)
