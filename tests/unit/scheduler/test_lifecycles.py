"""Tasks with a beginning and an end: set up, advanced at each fire time, cleaned up."""

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler.conftest import Home, tick
from tickwork import InvalidInputError, Scheduler, TaskConfigurationError, make_function
from tickwork.coordination import FileLockProtected, LeaderElection
from tickwork.testing import SteppedScheduler

PATIENCE_S = 10


class Diary:
    """What a lifecycle did, in order; it raises at the words that are `bad`, waits at `slow`."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.bad: set[str] = set()
        self.slow: set[str] = set()
        self.go = threading.Event()
        self.loops: set[int] = set()
        self.noted: asyncio.Event | None = None
        """Set with each word, where somebody waits on an event loop."""

    def note(self, word: str) -> None:
        self.words.append(word)
        if self.noted is not None:
            self.noted.set()
        if word in self.slow:
            self.go.wait(PATIENCE_S)
        if word in self.bad:
            raise RuntimeError(word)

    def take(self) -> str:
        """Return what was done since the last time."""
        words, self.words[:] = " ".join(self.words), []
        return words

    def until(self, *words: str) -> None:
        """Wait until these are the last words."""
        end = time.monotonic() + PATIENCE_S
        pause = threading.Event()
        while self.words[-len(words) :] != list(words):
            assert time.monotonic() < end, f"{words} never came, but {self.words}"
            pause.wait(0.005)

    def plain(self) -> Generator[None, bool, None]:
        self.note("up")
        try:
            running = yield
            while running:
                self.note("tick")
                running = yield
            self.note("down")
        finally:
            self.note("over")

    async def running(self) -> AsyncGenerator[None, bool]:
        self.note("up")
        try:
            running = yield
            while running:
                self.loops.add(id(asyncio.get_running_loop()))
                await asyncio.sleep(0)  # noqa: TID251  a turn of the loop, not time
                self.note("tick")
                running = yield
            self.note("down")
        finally:
            self.note("over")


@pytest.fixture
def diary() -> Iterator[Diary]:
    kept = Diary()
    yield kept
    kept.go.set()


@pytest.fixture(params=["plain", "async"])
def cycle(request: pytest.FixtureRequest, diary: Diary) -> Callable[[], Any]:
    """Run the test with a generator, and with an async one."""
    return diary.plain if request.param == "plain" else diary.running


def live(scheduler: Scheduler, cycle: Callable[[], Any], **options: Any) -> None:
    scheduler.lifecycle("interval", minutes=5, **{"id": "x", **options})(cycle)


def told(scheduler: Scheduler) -> list[tuple[str, str, str]]:
    """Return what runs there were, oldest first."""
    runs = reversed(scheduler.get_runs(store="local"))
    return [(run.name, run.source, run.status) for run in runs]


SET_UP = ("x:set-up", "manual", "completed")
TICK = ("x", "scheduled", "completed")
CLEAN_UP = ("x:clean-up", "shutdown", "completed")


# --- from beginning to end ----------------------------------------------------------------------


def test_it_is_set_up_ticks_and_cleans_up_at_each_start(
    home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.new()
    live(scheduler, cycle)
    assert diary.take() == ""
    for _ in range(2):
        scheduler.start()
        scheduler.step()
        assert diary.take() == "up"
        scheduler.advance(minutes=4, seconds=59)
        assert diary.take() == ""
        scheduler.advance(minutes=5, seconds=1)
        assert diary.take() == "tick tick"
        assert scheduler.stop().clean
        assert diary.take() == "down over"
    scheduler.connect()
    assert told(scheduler) == [SET_UP, TICK, TICK, CLEAN_UP] * 2
    scheduler.close()


def test_its_tasks_have_the_name_of_the_function(home: Home) -> None:
    scheduler = home.start()

    @scheduler.lifecycle(every="5m", tags=["cache"])
    def warm() -> Generator[None, bool, None]:
        running = yield
        while running:
            running = yield

    found = {task.id: task for task in scheduler.get_tasks()}
    assert sorted(found) == ["warm", "warm:clean-up"]
    for task in found.values():
        assert task.callable_reference == f"{__name__}:warm"
        assert (task.store, task.tags) == ("local", ("cache",))
    assert [found[each].trigger_alias for each in sorted(found)] == ["interval", "shutdown"]
    scheduler.step()
    scheduler.get_task("warm").run()
    scheduler.step()
    assert [(run.name, run.source) for run in scheduler.get_runs()] == [
        ("warm", "manual"),
        ("warm:set-up", "manual"),
    ]
    assert list(warm()) == [None]


def test_one_that_is_added_later_is_set_up_at_once(
    home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.start()
    scheduler.advance(minutes=1)
    live(scheduler, cycle)
    scheduler.step()
    assert diary.take() == "up"
    scheduler.advance(minutes=5)
    scheduler.stop()
    assert diary.take() == "tick down over"


def test_it_cleans_up_after_an_error_in_a_with(
    home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.new()
    live(scheduler, cycle)
    with suppress(ZeroDivisionError), scheduler:
        scheduler.advance(minutes=5)
        raise ZeroDivisionError
    assert diary.take() == "up tick down over"


def test_a_paused_start_sets_up_when_it_is_resumed(
    home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.new()
    live(scheduler, cycle)
    scheduler.start(paused=True)
    scheduler.advance(minutes=5)
    assert diary.take() == ""
    scheduler.resume()
    scheduler.step()
    assert diary.take() == "up tick"
    scheduler.pause()
    scheduler.advance(minutes=5)
    scheduler.stop()
    assert diary.take() == "down over"
    scheduler.start(paused=True)
    scheduler.stop()
    assert diary.take() == ""
    with scheduler.connect():
        (run,) = scheduler.get_runs(status="cancelled")
        assert (run.name, run.reason) == ("x:set-up", "its scheduler had stopped before it began")
        assert scheduler.get_runs(status=["pending", "running"]) == []


def test_a_partial_and_a_method_live_too(memory_home: Home, diary: Diary) -> None:
    def named(word: str) -> Generator[None, bool, None]:
        diary.note(word)
        yield

    scheduler = memory_home.start()
    scheduler.lifecycle(every="5m")(partial(named, "partial"))
    live(scheduler, diary.plain)
    scheduler.step()
    assert sorted(diary.words) == ["partial", "up"]
    assert {task.id for task in scheduler.get_tasks()} > {"named", "x"}


# --- errors -------------------------------------------------------------------------------------


def test_a_set_up_that_failed_is_tried_again_at_the_next_fire_time(
    home: Home, diary: Diary, cycle: Callable[[], Any], tmp_path: Path
) -> None:
    scheduler = home.new()
    live(scheduler, cycle, lock=FileLockProtected(tmp_path / "lock"))
    diary.bad = {"up"}
    scheduler.start()
    scheduler.advance(minutes=5)
    assert diary.take() == "up up"
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert free
    diary.bad = set()
    scheduler.advance(minutes=5)
    assert diary.take() == "up tick"
    assert told(scheduler) == [
        ("x:set-up", "manual", "failed"),
        ("x", "scheduled", "failed"),
        ("x", "scheduled", "completed"),
    ]


def test_one_that_failed_is_over_and_set_up_anew(
    home: Home, diary: Diary, cycle: Callable[[], Any], tmp_path: Path
) -> None:
    scheduler = home.new()
    live(scheduler, cycle, lock=FileLockProtected(tmp_path / "lock"))
    scheduler.start()
    diary.bad = {"tick"}
    scheduler.advance(minutes=5)
    assert diary.take() == "up tick over"
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert free
    diary.bad = set()
    scheduler.advance(minutes=5)
    assert diary.take() == "up tick"
    scheduler.stop()
    assert diary.take() == "down over"


def test_one_that_failed_has_nothing_to_clean_up(
    home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.new()
    live(scheduler, cycle, retries=0)
    diary.bad = {"tick"}
    scheduler.start()
    scheduler.advance(minutes=5)
    assert scheduler.stop().clean
    assert diary.take() == "up tick over"


def test_a_retry_sets_up_anew(home: Home, diary: Diary, cycle: Callable[[], Any]) -> None:
    scheduler = home.new()
    live(scheduler, cycle, retries=1, delay=10)
    scheduler.start()
    diary.bad = {"tick"}
    scheduler.advance(minutes=5)
    diary.bad = set()
    scheduler.advance(seconds=10)
    assert diary.take() == "up tick over up tick"


def test_a_clean_up_that_fails_keeps_nothing_from_stopping(
    home: Home, diary: Diary, cycle: Callable[[], Any], tmp_path: Path
) -> None:
    scheduler = home.new()
    live(scheduler, cycle, lock=FileLockProtected(tmp_path / "lock"))
    diary.bad = {"down"}
    scheduler.start()
    scheduler.step()
    assert scheduler.stop().clean
    assert diary.take() == "up down over"
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert free
    diary.bad = set()
    scheduler.start()
    assert told(scheduler)[:2] == [SET_UP, ("x:clean-up", "shutdown", "failed")]
    scheduler.advance(minutes=5)
    assert diary.take() == "up tick"


def test_one_that_ends_by_itself_is_set_up_at_the_next_fire_time(
    home: Home, diary: Diary, tmp_path: Path
) -> None:
    def short() -> Generator[None, bool, None]:
        diary.note("up")
        yield
        diary.note("end")

    def instant() -> Generator[None, bool, None]:
        diary.note("instant")
        yield from ()

    scheduler = home.new()
    live(scheduler, short, lock=FileLockProtected(tmp_path / "lock"))
    scheduler.lifecycle("interval", minutes=7)(instant)
    scheduler.start()
    scheduler.advance(minutes=11)
    scheduler.stop()
    assert sorted(diary.words) == ["end", "end", "instant", "instant", "up", "up"]
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert free


def test_one_that_goes_on_after_false_is_closed(
    home: Home, diary: Diary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def endless() -> Generator[None, bool, None]:
        while True:
            try:
                yield
                diary.note("sent")
            except GeneratorExit:
                diary.note("closed")
                if diary.words.count("closed") == 2:
                    raise

    def later() -> Generator[None, bool, None]:
        yield
        yield
        diary.note("not this")

    scheduler = home.new()
    live(scheduler, endless, lock=FileLockProtected(tmp_path / "lock"))
    scheduler.lifecycle("interval", minutes=7)(later)
    scheduler.start()
    scheduler.step()
    with caplog.at_level(logging.WARNING, "tickwork.lifecycle"):
        assert scheduler.stop().clean
    assert diary.take() == "sent closed closed"
    said = [each.getMessage().split()[1] for each in caplog.records if "yielded" in each.msg]
    assert sorted(said) == ["later", "x"]
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert free


def test_an_async_one_that_goes_on_after_false_is_closed(home: Home, diary: Diary) -> None:
    async def endless() -> AsyncGenerator[None, bool]:
        try:
            while True:
                yield
                diary.note("sent")
        finally:
            diary.note("closed")

    scheduler = home.new()
    live(scheduler, endless)
    scheduler.start()
    scheduler.step()
    assert scheduler.stop().clean
    assert diary.take() == "sent closed"


# --- refused ------------------------------------------------------------------------------------


def needs(name: str) -> Generator[None, bool, None]:
    yield


async def needs_async(*, name: str) -> AsyncGenerator[None, bool]:
    yield


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (needs, {}, r"needs needs arguments.*; give them defaults, or pass functools.partial"),
        (needs_async, {}, "needs_async needs arguments"),
        (len, {}, "len is no generator function: a lifecycle sets up, then says"),
        (5, {}, "5 is no generator function"),
        (Diary().plain, {"args": [1]}, "is made without arguments; leave args= out"),
        (Diary().plain, {"kwargs": {}}, "is made without arguments; leave kwargs= out"),
        (Diary().plain, {"store": "default"}, "lives in its process; leave store= out"),
        (Diary().plain, {"scope": "cluster"}, "lives in its process; leave scope= out"),
        (Diary().plain, {"lock": "x.lock"}, "lock='x.lock' is no FileLockProtected; make one"),
        (Diary().plain, {"leader": "me"}, "leader='me' is no LeaderElection"),
        (Diary().plain, {"executor": "nobody"}, "there is no executor 'nobody'"),
        (Diary().plain, {"executor": "processpool"}, "can't be found by other processes"),
        (Diary().running, {"executor": "threadpool"}, "lives on an event loop; leave it out"),
        (Diary().plain, {"minutes": None}, "minutes"),
        (Diary().plain, {"retries": -1}, "retries=-1"),
    ],
)
def test_what_could_never_live_is_refused(
    function: Any, options: dict[str, Any], message: str, memory_home: Home
) -> None:
    scheduler = memory_home.new()
    with pytest.raises(InvalidInputError, match=message):
        scheduler.lifecycle(**{"trigger": "interval", "minutes": 5, **options})(function)
    assert scheduler.get_tasks() == []
    with scheduler:
        assert scheduler.get_runs() == []


def test_when_is_said_in_one_way(memory_home: Home) -> None:
    scheduler = memory_home.new()
    with pytest.raises(TaskConfigurationError, match="Either 'interval'"):
        scheduler.lifecycle()
    with pytest.raises(TaskConfigurationError, match="not with every and a trigger"):
        scheduler.lifecycle("interval", every="5m")


def test_another_of_the_same_name_is_refused(memory_home: Home, diary: Diary) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain)
    with pytest.raises(InvalidInputError.__mro__[1], match="'x' is there already"):
        live(scheduler, diary.running)
    scheduler.start()
    scheduler.step()
    assert diary.take() == "up"


# --- pausing, removing, declaring again ---------------------------------------------------------


def test_pausing_its_task_pauses_its_ticks(
    home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.new()
    live(scheduler, cycle)
    scheduler.start()
    scheduler.step()
    scheduler.get_task("x").pause()
    scheduler.advance(minutes=30)
    assert diary.take() == "up"
    scheduler.get_task("x").resume()
    scheduler.advance(minutes=5)
    assert diary.take() == "tick"
    scheduler.get_task("x").pause()
    scheduler.stop()
    assert diary.take() == "down over"


@pytest.mark.parametrize("remove_all", [False, True])
def test_removing_its_task_cleans_up_at_once(
    remove_all: bool, diary: Diary, cycle: Callable[[], Any], tmp_path: Path
) -> None:
    scheduler = SteppedScheduler()
    live(scheduler, cycle, lock=FileLockProtected(tmp_path / "lock"))
    scheduler.start()
    scheduler.advance(minutes=5)
    if remove_all:
        scheduler.remove_all_tasks()
    else:
        scheduler.get_task("x").remove()
    scheduler.step()
    assert diary.take() == "up tick down over"
    assert scheduler.get_tasks() == []
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert free
    for _ in range(2):
        scheduler.advance(minutes=5)
        scheduler.stop()
        scheduler.start()
    assert diary.take() == ""
    live(scheduler, cycle)
    scheduler.advance(minutes=5)
    scheduler.stop()
    assert diary.take() == "up tick down over"


@pytest.mark.parametrize("remove_all", [False, True])
def test_one_that_is_removed_before_the_start_is_never_set_up(
    remove_all: bool, memory_home: Home, diary: Diary
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain)
    if remove_all:
        scheduler.remove_all_tasks()
    else:
        scheduler.get_task("x").remove()
    assert scheduler.get_tasks() == []
    scheduler.start()
    scheduler.advance(minutes=10)
    scheduler.stop()
    assert diary.take() == ""


def test_without_its_clean_up_task_it_is_cleaned_up_all_the_same(
    memory_home: Home, diary: Diary
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain)
    scheduler.start()
    scheduler.step()
    scheduler.get_task("x:clean-up").remove()
    scheduler.stop()
    diary.until("up", "down", "over")


@pytest.mark.parametrize("started", [False, True])
def test_declared_again_it_takes_the_place_of_itself(
    started: bool, home: Home, diary: Diary, cycle: Callable[[], Any]
) -> None:
    scheduler = home.new()
    live(scheduler, cycle)
    if started:
        scheduler.start()
        scheduler.step()
    live(scheduler, cycle)
    if not started:
        scheduler.start()
    scheduler.step()
    scheduler.advance(minutes=5)
    scheduler.stop()
    words = diary.words
    assert words.count("up") == words.count("down") == words.count("over") == 1 + started
    assert words.count("tick") == 1
    assert words[-3:] == ["tick", "down", "over"]


# --- leaders ------------------------------------------------------------------------------------


@contextmanager
def pair(
    home: Home, cycle: Callable[[Diary], Any], options: Callable[[], dict[str, Any]]
) -> Iterator[list[tuple[SteppedScheduler, Diary]]]:
    """Start two schedulers with a lifecycle each, which are two processes to each other."""
    both = []
    for _ in range(2):
        diary = Diary()
        scheduler = home.new()
        scheduler.lifecycle("interval", minutes=5, id="x", **options())(cycle(diary))
        scheduler.start()
        scheduler.step()
        both.append((scheduler, diary))
    yield both
    for scheduler, _ in both:
        scheduler.stop()


KINDS = [pytest.param(lambda diary: diary.plain, id="plain")]
KINDS += [pytest.param(lambda diary: diary.running, id="async")]


def led() -> dict[str, Any]:
    return {"leader": LeaderElection("boss")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_leader_alone_is_set_up(home: Home, kind: Callable[[Diary], Any]) -> None:
    with pair(home, kind, led) as ((first, a), (second, b)):
        for _ in range(60):
            first.advance(seconds=5)
            second.step()
        assert (a.take(), b.take()) == ("up tick", "")
        first.stop()
        assert a.take() == "down over"
        second.advance(seconds=5)
        assert b.take() == "up"
        second.advance(minutes=5)
        assert b.take() == "tick"
        first.start()
        first.step()
        assert a.take() == ""
    assert (a.take(), b.take()) == ("", "down over")


@pytest.mark.parametrize("kind", KINDS)
def test_who_lost_the_lead_cleans_up_at_once_and_once(
    home: Home, kind: Callable[[Diary], Any]
) -> None:
    with pair(home, kind, led) as ((first, a), (second, b)):
        assert (a.take(), b.take()) == ("up", "")
        # The first stands still for longer than its lease.
        second.advance(seconds=20)
        assert b.take() == "up"
        assert a.take() == ""
        first.step()
        assert a.take() == "down over"
        for _ in range(120):
            second.advance(seconds=5)
            first.step()
        assert (a.take(), b.take()) == ("", "tick tick")
        second.stop()
        first.advance(seconds=5)
        assert (a.take(), b.take()) == ("up", "down over")


@pytest.mark.parametrize("kind", KINDS)
def test_who_lost_the_lead_cleans_up_also_while_it_is_paused(
    home: Home, kind: Callable[[Diary], Any]
) -> None:
    with pair(home, kind, led) as ((first, a), (second, b)):
        first.pause()
        second.advance(seconds=20)
        first.step()
        assert (a.take(), b.take()) == ("up down over", "up")
        second.stop()
        first.advance(seconds=5)
        assert a.take() == ""
        first.resume()
        first.advance(minutes=5)
        assert a.take() == "up tick"


def test_a_tick_in_a_process_that_leads_no_more_cleans_up(memory_home: Home) -> None:
    with pair(memory_home, lambda diary: diary.plain, led) as ((first, a), (second, b)):
        second.advance(seconds=20)
        first.get_task("x").run()
        first.step()
        assert (a.take(), b.take()) == ("up down over", "up")
        (run,) = first.get_runs(task="x", store="local")
        assert run.result == "this process isn't the leader of 'boss'"


def test_a_leader_may_lead_several(memory_home: Home) -> None:
    scheduler = memory_home.new()
    leader = LeaderElection("boss")
    diaries = [Diary(), Diary()]
    for number, diary in enumerate(diaries):
        scheduler.lifecycle("interval", minutes=5, id=str(number), leader=leader)(diary.plain)
    scheduler.start()
    scheduler.advance(minutes=5)
    scheduler.stop()
    assert [diary.take() for diary in diaries] == ["up tick down over"] * 2


# --- locks on files -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_the_file_is_set_up(
    home: Home, tmp_path: Path, kind: Callable[[Diary], Any]
) -> None:
    def locked() -> dict[str, Any]:
        return {"lock": FileLockProtected(tmp_path / "{pgrp}.lock")}

    with pair(home, kind, locked) as ((first, a), (second, b)):
        first.advance(minutes=10)
        second.step()
        assert (a.take(), b.take()) == ("up tick tick", "")
        first.stop()
        assert a.take() == "down over"
        second.advance(minutes=5)
        assert b.take() == "up tick"
        first.start()
        first.advance(minutes=5)
        second.step()
        assert (a.take(), b.take()) == ("", "tick")
        (run, *_) = first.get_runs(task="x", store="local")
        assert run.result == f"another process has the lock {tmp_path}/{os.getpgrp()}.lock"


def test_lifecycles_share_a_lock(memory_home: Home, tmp_path: Path) -> None:
    lock = FileLockProtected(tmp_path / "lock")
    diaries = [Diary(), Diary()]
    first, second = memory_home.new(), memory_home.new()
    for number, diary in enumerate(diaries):
        first.lifecycle("interval", minutes=5, id=str(number), lock=lock)(diary.plain)
    other = Diary()
    second.lifecycle("interval", minutes=5, lock=lock)(other.plain)
    first.start()
    first.step()
    second.start()
    diaries[0].bad = {"tick"}
    second.advance(minutes=5)
    first.step()
    assert [diary.take() for diary in diaries] == ["up tick over", "up tick"]
    with FileLockProtected(tmp_path / "lock").protected(blocking=False) as free:
        assert not free
    assert other.take() == ""
    first.stop()
    second.advance(minutes=5)
    assert other.take() == "up tick"


def test_a_file_that_can_not_be_opened_is_an_error_of_the_run(
    memory_home: Home, tmp_path: Path, diary: Diary
) -> None:
    scheduler = memory_home.new()
    live(scheduler, diary.plain, lock=FileLockProtected(tmp_path / "missing" / "lock"))
    scheduler.start()
    scheduler.step()
    (run,) = scheduler.get_runs()
    assert (run.status, diary.take()) == ("failed", "")
    assert run.error is not None
    assert "missing/lock" in run.error["message"]
    (tmp_path / "missing").mkdir()
    scheduler.advance(minutes=5)
    assert diary.take() == "up tick"


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
