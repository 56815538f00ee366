"""`Scheduler(lock_path=...)`: of all that name the same file, one fires; then another one does."""

import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork import IntervalTrigger, InvalidInputError, Scheduler
from tickwork.testing import ManualClock, SteppedScheduler

ANOTHERS = "another process with the same lock_path fired while this one stood by"


class Processes:
    """Schedulers that are processes to each other: they share a clock and a folder, no store."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "turn.lock"
        self.clock = ManualClock()
        self.clock.advance(seconds=1)
        self.fired: list[str] = []
        self._made: list[SteppedScheduler] = []

    def start(self, name: str, **options: Any) -> SteppedScheduler:
        """Start one with the tasks that all have; each notes its name and the fire time."""
        scheduler = self.new(**options)
        for store in scheduler.snapshot().stores:
            if store != "local":
                self.declare(scheduler, name, store)
        scheduler.start()
        scheduler.step()
        return scheduler

    def new(self, **options: Any) -> SteppedScheduler:
        options = {"lock_path": self.path, **options}
        scheduler = SteppedScheduler(clock=self.clock, **options)
        self._made.append(scheduler)
        return scheduler

    def declare(self, scheduler: Scheduler, name: str, store: str) -> None:
        def minutely() -> None:
            self.fired.append(f"{name}@{self.clock.now():%M}")

        where = "" if store == "default" else f" {store}"
        scheduler.add_task(minutely, cron="* * * * *", store=store, id=f"minutely{where}")

    def take(self) -> str:
        """Return what was fired since the last time."""
        fired, self.fired[:] = " ".join(self.fired), []
        return fired

    def stop(self) -> None:
        for scheduler in self._made:
            scheduler.stop()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.stop()


def crash(scheduler: SteppedScheduler) -> None:
    """Do what the system does when a process is killed."""
    for turn in scheduler._turns.values():  # noqa: SLF001  nobody is asked when he is killed
        turn.forsake()
    scheduler.pause()


def skipped(scheduler: Scheduler) -> list[tuple[str | None, int, str]]:
    """Return the reasons of what was skipped, with how many fire times they stand for."""
    runs = reversed(scheduler.get_runs(status="skipped"))
    return [(run.reason, run.fire_count, f"{run.fire_time:%M}") for run in runs]


# --- one after the other ------------------------------------------------------------------------


def test_one_fires_and_the_next_goes_on_where_it_stopped(processes: Processes) -> None:
    names = ("a", "b", "c", "d")
    schedulers = [processes.start(name) for name in names]
    for number, (name, first) in enumerate(zip(names, schedulers, strict=True)):
        for _ in range(3):
            processes.clock.advance(minutes=1)
            for scheduler in schedulers[number:]:
                scheduler.step()
        minutes = range(3 * number + 1, 3 * number + 4)
        assert processes.take() == " ".join(f"{name}@{minute:02}" for minute in minutes)
        if number % 2:
            crash(first)
        else:
            first.stop()
    # Each has one record of what the others did, and nothing was executed twice.
    assert skipped(schedulers[3]) == [(ANOTHERS, 9, "09")]


@pytest.mark.parametrize("coalesce", ["latest", "earliest", "all"])
def test_what_fell_due_while_nobody_fired_is_caught_up(processes: Processes, coalesce: str) -> None:
    defaults = {"coalesce": coalesce, "max_instances": 9}
    first = processes.start("a", task_defaults=defaults)
    second = processes.start("b", task_defaults=defaults)
    first.advance(minutes=5)
    second.step()
    assert processes.take() == "a@01 a@02 a@03 a@04 a@05"
    crash(first)
    processes.clock.advance(minutes=3)
    second.step()
    assert processes.take() == " ".join(["b@08"] * (3 if coalesce == "all" else 1))
    done = [f"{run.fire_time:%M}" for run in reversed(second.get_runs(status="completed"))]
    assert done == {"latest": ["08"], "earliest": ["06"], "all": ["06", "07", "08"]}[coalesce]
    assert skipped(second) == [(ANOTHERS, 5, "05")]


def test_who_is_started_again_goes_on_where_the_other_stopped(processes: Processes) -> None:
    first, second = processes.start("a"), processes.start("b")
    first.advance(minutes=2)
    first.stop()
    second.advance(minutes=2)
    second.stop()
    processes.clock.advance(minutes=1)
    first.start()
    first.advance(minutes=1)
    assert processes.take() == "a@01 a@02 b@03 b@04 a@05 a@06"


def test_all_kinds_of_schedules_go_on(processes: Processes) -> None:
    first, second = processes.start("a"), processes.start("b")
    fired: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: fired.append(f"{name}@{processes.clock.now():%H:%M:%S}")

    for name, scheduler in (("a", first), ("b", second)):
        scheduler.add_task(note(f"{name} at"), at="2026-01-01 00:03", id="at")
        scheduler.add_task(note(f"{name} late"), at="2026-01-01 00:30", id="late")
        begin = IntervalTrigger(minutes=2, start_at="2026-01-01 00:01")
        scheduler.add_task(note(f"{name} every"), begin, id="every")
        scheduler.add_task(note(f"{name} jitter"), "interval", minutes=4, jitter=90, id="jitter")
        scheduler.add_task(note(f"{name} now"))
        processes.clock.advance(seconds=10)
    first.advance(minutes=6)
    first.stop()
    second.advance(minutes=30)
    for task, times in (
        ("at", ["a@00:03:00"]),
        ("late", ["b@00:30:00"]),
        ("now", ["a@00:00:21", "b@00:06:21"]),
    ):
        assert [each.replace(f" {task}@", "@") for each in fired if f" {task}@" in each] == times
    every = [each for each in fired if "every" in each]
    assert every[:4] == [f"{at[0]} every@00:0{at[1]}:00" for at in ("a1", "a3", "a5", "b7")]
    assert len(every) == 18
    jitter = [each for each in fired if "jitter" in each]
    assert "".join(each[0] for each in jitter) == "abbbbbbb"


def test_a_schedule_that_fails_stops_only_itself(processes: Processes) -> None:
    class Broken(IntervalTrigger):
        kind = "broken"

        def next_us(self, after_us: int) -> int | None:
            if processes.clock.now().minute > 2:
                raise ZeroDivisionError
            return super().next_us(after_us)

    first, second = processes.start("a"), processes.start("b")
    second.add_task(jobs.note, Broken(minutes=1), id="broken")
    first.advance(minutes=5)
    first.stop()
    second.advance(minutes=1)
    assert processes.take() == "a@01 a@02 a@03 a@04 a@05 b@06"
    assert "its trigger failed" in str(second.get_task_info("broken").problem)


# --- who stands by ------------------------------------------------------------------------------


def test_shutdown_tasks_of_who_stands_by_run_all_the_same(processes: Processes) -> None:
    done: list[str] = []
    schedulers = [processes.start(name) for name in ("a", "b")]
    for name, scheduler in zip("ab", schedulers, strict=True):
        scheduler.add_task(lambda name=name: done.append(name), "shutdown")
    schedulers[1].stop()
    assert done == ["b"]
    schedulers[0].stop()
    assert done == ["b", "a"]
    assert processes.take() == ""


def test_tasks_of_scope_node_and_lifecycles_go_on_in_each(processes: Processes) -> None:
    done: list[str] = []
    schedulers = [processes.start(name) for name in ("a", "b")]
    for name, scheduler in zip("ab", schedulers, strict=True):
        scheduler.add_task(lambda name=name: done.append(name), "interval", minutes=1, scope="node")
    processes.clock.advance(minutes=1)
    for scheduler in schedulers:
        scheduler.step()
    assert done == ["a", "b"]
    assert processes.take() == "a@01"


def test_what_was_asked_for_by_hand_is_executed_where_it_is_known(processes: Processes) -> None:
    processes.start("a")
    second = processes.start("b")
    run = second.get_task("minutely").run()
    submitted = second.submit(jobs.add, 1)
    second.step()
    assert (run.status, processes.take()) == ("completed", "b@00")
    assert (submitted.result, submitted.status) == (2, "completed")


def test_a_scheduler_that_is_started_paused_keeps_nobody_from_firing(processes: Processes) -> None:
    paused = processes.new()
    processes.declare(paused, "p", "default")
    paused.start(paused=True)
    first = processes.start("a")
    paused.resume()
    processes.clock.advance(minutes=1)
    for scheduler in (paused, first):
        scheduler.step()
    assert processes.take() == "a@01"
    first.stop()
    paused.advance(minutes=1)
    assert processes.take() == "p@02"


def test_who_pauses_keeps_the_turn(processes: Processes) -> None:
    first, second = processes.start("a"), processes.start("b")
    first.pause()
    processes.clock.advance(minutes=2)
    second.step()
    assert processes.take() == ""
    first.resume()
    first.step()
    assert processes.take() == "a@02"


# --- files and stores ---------------------------------------------------------------------------


def test_each_store_may_have_a_file_of_its_own(processes: Processes, tmp_path: Path) -> None:
    stores = {"default": "memory://", "second": "memory://", "local": "memory://"}
    path = str(tmp_path / "{pgrp}-{store}.lock")
    first = processes.start("a", stores=dict(stores), lock_path=path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        f"{os.getpgrp()}-{store}.lock" for store in ("default", "second")
    ]
    other = {"default": "memory://", "third": "memory://"}
    second = processes.start("b", stores=other, lock_path=path)
    processes.clock.advance(minutes=1)
    for scheduler in (second, first):
        scheduler.step()
    assert sorted(processes.take().split()) == ["a@01", "a@01", "b@01"]
    assert [run.task_id for run in second.get_runs()] == ["minutely third"]


def test_one_file_decides_for_all_stores(processes: Processes) -> None:
    first, second = [
        processes.start(name, stores={"default": "memory://", "second": "memory://"})
        for name in ("a", "b")
    ]
    first.add_task(jobs.note, cron="30 * * * *", store="second")
    first.advance(minutes=2)
    second.step()
    first.stop()
    second.advance(minutes=2)
    assert processes.take() == "a@01 a@01 a@02 a@02 b@03 b@03 b@04 b@04"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{host}.lock", r"'host' can't stand in the path of a lock; these can: .*\{store\}"),
        ("{store", "can't stand in the path"),
        (5, "lock_path=5 is no path; give one such as"),
        (b"lock", "is no path"),
    ],
)
def test_a_path_that_can_not_be_read_is_refused(path: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Scheduler(lock_path=path)


def test_a_file_that_can_not_be_opened_refuses_the_start(
    processes: Processes, tmp_path: Path
) -> None:
    scheduler = processes.new(lock_path=tmp_path / "missing" / "lock")
    processes.declare(scheduler, "a", "default")
    with pytest.raises(InvalidInputError, match=r"missing/lock' can't be opened \(No such file"):
        scheduler.start()
    assert scheduler.state == "new"
    (tmp_path / "missing").mkdir()
    scheduler.start()
    scheduler.advance(minutes=1)
    assert processes.take() == "a@01"


def test_a_file_that_is_gone_later_is_logged_once(
    processes: Processes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "lock"
    first, second = [processes.start(name, lock_path=path) for name in ("a", "b")]
    first.stop()
    path.unlink()
    folder.rmdir()
    with caplog.at_level(logging.WARNING, "tickwork.turns"):
        for _ in range(3):
            second.advance(minutes=1)
    assert (processes.take(), len(caplog.records)) == ("", 1)
    folder.mkdir()
    second.advance(minutes=1)
    assert processes.take() == "b@03 b@04"


def test_a_file_of_somebody_else_stays_as_it_is(processes: Processes) -> None:
    processes.path.write_text("pid 4711\n")
    first, second = processes.start("a"), processes.start("b")
    first.advance(minutes=2)
    second.step()
    crash(first)
    second.advance(minutes=1)
    assert processes.path.read_text() == "pid 4711\n"
    assert processes.take() == "a@01 a@02 b@03"


def test_a_clock_that_was_wrong_for_a_while_stops_nothing(processes: Processes) -> None:
    wrong = processes.start("a")
    right = processes.clock.now()
    processes.clock.set(datetime.fromisoformat("2090-01-01T00:00:00+00:00"))
    wrong.step()
    wrong.stop()
    processes.clock.set(right)
    processes.take()
    first = processes.start("b")
    first.advance(minutes=2)
    assert processes.take() == "b@01 b@02"


def test_in_a_store_that_they_share_there_are_no_turns(tmp_path: Path) -> None:
    home = Home("sqlite", tmp_path)
    schedulers = [home.new(lock_path=tmp_path / "lock") for _ in range(2)]
    home.clock.advance(seconds=1)
    for scheduler in schedulers:
        scheduler.task(cron="* * * * *")(jobs.note)
        scheduler.start()
    first, second = schedulers
    with first, second:
        first.advance(minutes=2)
        second.advance(minutes=2)
        assert [run.fire_count for run in second.get_runs()] == [1, 1, 1, 1]
    assert len(jobs.calls) == 4
    assert not (tmp_path / "lock").exists()
