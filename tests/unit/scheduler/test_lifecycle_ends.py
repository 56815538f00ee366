"""Lifecycles that are stopped in the middle, on one event loop after the other, or by hand."""

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.unit.scheduler.conftest import Home, tick
from tests.unit.scheduler.diary import PATIENCE_S, Diary, live
from tickwork import InvalidInputError, TaskConfigurationError, make_function
from tickwork.coordination import FileLockProtected


@pytest.fixture
def diary() -> Iterator[Diary]:
    kept = Diary()
    yield kept
    kept.go.set()


# --- stopping in the middle ---------------------------------------------------------------------


def test_a_stop_waits_for_the_tick_and_cleans_up_then(home: Home, diary: Diary) -> None:
    scheduler = home.new()
    live(scheduler, diary.plain)
    diary.slow = {"tick"}
    scheduler.start()
    scheduler.step()
    home.clock.advance(minutes=5)
    tick(scheduler)
    stopping = threading.Thread(target=scheduler.stop)
    stopping.start()
    diary.until("up", "tick")
    assert stopping.is_alive()
    diary.go.set()
    stopping.join(PATIENCE_S)
    assert diary.take() == "up tick down over"


def test_a_tick_that_outlives_the_stop_is_followed_by_its_clean_up(
    memory_home: Home, diary: Diary, tmp_path: Path
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain, lock=FileLockProtected(tmp_path / "lock"))
    diary.slow = {"tick"}
    scheduler.start()
    scheduler.step()
    memory_home.clock.advance(minutes=5)
    tick(scheduler)
    report = scheduler.stop(timeout=0)
    assert len(report.still_running) == 2
    assert diary.words == ["up", "tick"]
    diary.go.set()
    diary.until("up", "tick", "down", "over")
    diary.slow = set()
    scheduler.start()
    scheduler.advance(minutes=5)
    # Both runs are executed again, since nobody knew of their end; only one has something to do.
    assert {run.attempt for run in scheduler.get_runs(status="completed")} == {1, 2}
    assert diary.words[4:] == ["up", "tick"]
    scheduler.stop()
    assert diary.words[6:] == ["down", "over"]


def test_a_stop_that_does_not_wait_cleans_up_aside(
    memory_home: Home, diary: Diary, tmp_path: Path
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain, lock=FileLockProtected(tmp_path / "lock"))
    scheduler.start()
    scheduler.step()
    diary.slow = {"down"}
    scheduler.stop(wait=False)
    diary.until("up", "down")
    diary.slow = set()
    diary.go.set()
    diary.until("up", "down", "over")
    diary.take()
    scheduler.start()
    scheduler.advance(minutes=5)
    assert diary.take() == "up tick"
    scheduler.stop()
    assert diary.take() == "down over"


def test_a_clean_up_aside_that_fails_is_logged(
    memory_home: Home, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain)
    scheduler.start()
    scheduler.step()
    diary.bad = {"over"}
    with caplog.at_level(logging.ERROR, "tickwork.lifecycle"):
        scheduler.stop(wait=False)
        diary.until("up", "down", "over")
        end = time.monotonic() + PATIENCE_S
        while not caplog.records and time.monotonic() < end:
            threading.Event().wait(0.005)
    (record,) = caplog.records
    assert record.getMessage() == "lifecycle x: its clean-up failed"


def test_ticks_never_overlap(memory_home: Home, diary: Diary) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain, max_instances=3)
    diary.slow = {"tick"}
    scheduler.start()
    scheduler.step()
    for _ in range(3):
        memory_home.clock.advance(minutes=5)
        tick(scheduler)
    diary.until("up", "tick")
    diary.slow = set()
    diary.go.set()
    scheduler.step()
    assert diary.take() == "up tick tick tick"
    assert {run.status for run in scheduler.get_runs()} == {"completed"}


# --- event loops --------------------------------------------------------------------------------


def test_an_async_one_lives_on_the_loop_of_the_application(memory_home: Home) -> None:
    diary = Diary()
    scheduler = memory_home.new()
    live(scheduler, diary.running)

    async def application() -> int:
        async with scheduler:
            await scheduler.aio.advance(minutes=10)
        return id(asyncio.get_running_loop())

    assert diary.loops | {asyncio.run(application())} == diary.loops
    assert (len(diary.loops), diary.take()) == (1, "up tick tick down over")


def test_an_async_one_lives_on_one_loop_after_the_other(memory_home: Home, diary: Diary) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.running, max_instances=3)

    async def application() -> None:
        async with scheduler:
            # All at the same time, so that they wait for each other.
            for _ in range(3):
                scheduler.get_task("x").run()
            await scheduler.aio.step()

    for _ in range(2):
        asyncio.run(application())
        with scheduler:
            for _ in range(3):
                scheduler.get_task("x").run()
            scheduler.step()
    with scheduler.connect():
        assert {run.status for run in scheduler.get_runs()} == {"completed"}
    assert diary.take().replace("up tick tick tick down over", "-") == "- - - -"


def test_without_waiting_an_async_one_cleans_up_on_its_loop(
    memory_home: Home, diary: Diary, tmp_path: Path
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.running, lock=FileLockProtected(tmp_path / "lock"))

    async def application() -> None:
        await scheduler.aio.start()
        await scheduler.aio.step()
        diary.noted = asyncio.Event()
        scheduler.stop(wait=False)
        async with asyncio.timeout(PATIENCE_S):
            while diary.words[-1] != "over":
                await diary.noted.wait()
                diary.noted.clear()

    for _ in range(2):
        asyncio.run(application())
        assert diary.take() == "up down over"


def test_without_waiting_the_loop_of_the_scheduler_closes_it(
    memory_home: Home, diary: Diary, tmp_path: Path
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.running, lock=FileLockProtected(tmp_path / "lock"))
    for _ in range(2):
        scheduler.start()
        scheduler.step()
        scheduler.stop(wait=False)
        assert diary.take() == "up over"


def test_a_tick_that_is_cancelled_ends_the_generator(memory_home: Home, diary: Diary) -> None:
    async def waits() -> AsyncGenerator[None, bool]:
        diary.note("up")
        try:
            running = yield
            while running:
                diary.note("tick")
                await asyncio.Event().wait()
                running = yield
            diary.note("down")
        finally:
            diary.note("over")

    scheduler = memory_home.new()
    live(scheduler, waits, timeout=30)
    scheduler.start()
    scheduler.advance(minutes=6)
    assert diary.take() == "up tick over"
    scheduler.stop()
    assert diary.take() == ""


# --- executors ----------------------------------------------------------------------------------


def test_it_is_executed_where_it_can_live(memory_home: Home, diary: Diary) -> None:
    executors = {
        "default": "processpool",
        "few": {"type": "threadpool", "max_workers": 1},
        "loop": "asyncio",
        "inline": "inline",
    }
    scheduler = memory_home.new(
        stores={"default": "memory://"}, executors=executors, task_defaults={"executor": "few"}
    )
    other = memory_home.new(stores={"default": "memory://"}, executors=executors)
    for each in (scheduler, other):
        live(each, diary.plain, id="plain")
        live(each, diary.running, id="async")
        live(each, diary.plain, id="inline", executor="inline")
        live(each, diary.running, id="loop", executor="loop")
    found = {task.id: task.executor for task in scheduler.get_tasks()}
    assert found == {"plain": "few", "async": "asyncio", "inline": "inline", "loop": "loop"} | {
        f"{name}:clean-up": executor for name, executor in found.items() if ":" not in name
    }
    assert other.get_task_info("plain").executor == "threadpool"
    scheduler.start()
    scheduler.advance(minutes=5)
    scheduler.stop()
    words = diary.words
    assert [words.count(each) for each in ("up", "tick", "down", "over")] == [4] * 4


# --- processes ----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_has_nothing_of_it(memory_home: Home, diary: Diary, tmp_path: Path) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain, lock=FileLockProtected(tmp_path / "lock"))
    scheduler.start()
    scheduler.step()
    assert diary.take() == "up"
    inbox, outbox = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(outbox, "w") as file:
            file.write(f"{scheduler.state} ")
            scheduler.connect()
            gc.collect()
            scheduler.start()
            scheduler.step()
            file.write(f"[{diary.take()}]")
            file.flush()
            os._exit(0)
    os.close(outbox)
    with os.fdopen(inbox) as file:
        assert file.read() == "new []"
    os.waitpid(child, 0)
    scheduler.advance(minutes=5)
    scheduler.stop()
    assert diary.take() == "tick down over"


# --- the long way -------------------------------------------------------------------------------


def test_a_generator_of_ones_own_is_advanced_by_two_tasks(memory_home: Home, diary: Diary) -> None:
    stores = {"default": f"sqlite:///{memory_home.file}", "memory": {"type": "memory"}}
    scheduler = memory_home.new(stores=stores)

    def cycle() -> Generator[None, bool, None]:
        scheduler.add_task(
            make_function(generator.send), args=[False], trigger="shutdown", store="memory"
        )
        yield from diary.plain()

    generator = cycle()
    generator.send(None)  # type: ignore[arg-type]  # what begins it
    send = make_function(generator.send)
    scheduler.add_task(send, args=[True], trigger="interval", minutes=5, store="memory")
    with scheduler:
        scheduler.advance(minutes=10)
        assert diary.take() == "up tick tick"
        (task,) = scheduler.get_tasks(store="memory", trigger="interval")
        assert (task.name, task.callable_reference) == ("cycle.send", f"{__name__}:cycle.send")
    assert diary.take() == "down over"
    with scheduler:
        scheduler.advance(minutes=5)
        assert {run.status for run in scheduler.get_runs()} == {"completed"}
    assert diary.take() == ""


def test_an_async_generator_is_advanced_on_its_loop(memory_home: Home, diary: Diary) -> None:
    async def application() -> None:
        generator = diary.running()
        await generator.asend(None)  # type: ignore[arg-type]  # what begins it
        scheduler = memory_home.new(stores={"default": "memory://"})
        send = make_function(generator.asend)
        scheduler.add_task(send, "interval", minutes=5, args=[True])
        scheduler.add_task(make_function(partial(generator.asend, False)), "shutdown")
        async with scheduler:
            await scheduler.aio.advance(minutes=5)
            assert {task.executor for task in await scheduler.aio.get_tasks()} == {"asyncio"}

    asyncio.run(application())
    assert diary.take() == "up tick down over"
    assert len(diary.loops) == 1


def counting() -> Generator[str, int, str]:
    word = "first"
    while number := (yield word):
        word = str(number)
    return "the end"


def test_what_a_generator_returns_is_the_result() -> None:
    generator = counting()
    send, forward = make_function(generator.send), make_function(generator.__next__)
    assert forward() == "first"
    assert send(7) == "7"
    assert send(0) == "the end"
    assert send(1) is None
    assert forward() is None
    assert make_function(generator.close)() is None
    names = [make_function(each).__name__ for each in (generator.send, generator.__next__)]
    assert names == ["counting.send", "counting.__next__"]
    assert send.__module__ == __name__


def test_its_errors_are_its_own() -> None:
    def failing() -> Generator[None, bool, None]:
        yield
        raise ZeroDivisionError

    generator = failing()
    send = make_function(generator.send)
    assert send(None) is None
    with pytest.raises(ZeroDivisionError):
        send(True)
    assert send(True) is None
    with pytest.raises(KeyError):
        make_function(generator.throw)(KeyError())


def test_other_functions_are_made_too() -> None:
    async def doubled(number: int) -> int:
        return 2 * number

    made = make_function(doubled)
    assert asyncio.run(made(4)) == 8
    assert made.__name__ == "doubled"
    assert make_function(partial(pow, 2))(3) == 8
    assert make_function(partial(pow, 2)).__name__ == "pow"
    assert make_function(next)(iter([])) is None
    with pytest.raises(TaskConfigurationError, match=r"5 can't be called; pass generator\.send"):
        make_function(5)  # type: ignore[arg-type]


def test_a_persistent_store_takes_no_generator(sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    with pytest.raises(InvalidInputError, match=r"counting\.send.* or keep the task in a mem"):
        scheduler.add_task(make_function(counting().send), "interval", minutes=5, args=[1])
    assert scheduler.get_tasks() == []
