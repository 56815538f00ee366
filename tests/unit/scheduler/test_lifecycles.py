"""Tasks with a beginning and an end: set up, advanced at each fire time, cleaned up."""

import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler.conftest import Home
from tests.unit.scheduler.diary import Diary, live, told
from tickwork import InvalidInputError, TaskConfigurationError
from tickwork.coordination import FileLockProtected, LeaderElection
from tickwork.testing import SteppedScheduler


@pytest.fixture
def diary() -> Iterator[Diary]:
    kept = Diary()
    yield kept
    kept.go.set()


@pytest.fixture(params=["plain", "async"])
def cycle(request: pytest.FixtureRequest, diary: Diary) -> Callable[[], Any]:
    """Run the test with a generator, and with an async one."""
    return diary.plain if request.param == "plain" else diary.running


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
