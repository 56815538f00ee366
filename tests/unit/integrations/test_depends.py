"""What FastDepends' `Depends` declares is made where a run is executed, and closed with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.integrations import jobs
from tickwork import Run, Scheduler
from tickwork.errors import InvalidArgumentsError

WAIT_S = 30


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    with Scheduler(f"sqlite:///{tmp_path}/tasks.db") as scheduler:
        yield scheduler


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book"


def lines(book: Path, run: Run) -> list[str]:
    return [line.removeprefix(f"{run.id} ") for line in book.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "executor", "closing"),
    [
        ("counted", "threadpool", ["ends"]),
        ("counted", "processpool", ["ends"]),
        ("counted_on_loop", "asyncio", ["the loop is done", "ends"]),
        ("counted_on_loop", "processpool", ["the loop is done", "ends"]),
    ],
)
def test_wherever_it_runs(
    scheduler: Scheduler, book: Path, *, name: str, executor: str, closing: list[str]
) -> None:
    function = getattr(jobs, name)
    run = scheduler.options(executor=executor).submit(function, 7, book=str(book))
    ended = run.wait(WAIT_S)
    assert ended.result is not None, ended.error
    *result, process = ended.result
    assert result == [7, 1, run.task_id]
    assert (process == os.getpid()) is (executor != "processpool")
    assert lines(book, run) == ["begins", *closing]


def test_a_task_gets_what_it_depends_on_as_well(scheduler: Scheduler, book: Path) -> None:
    task = scheduler.add_task(
        jobs.counted, "interval", id="count", hours=1, args=[7], kwargs={"book": str(book)}
    )
    run = task.run()
    ended = run.wait(WAIT_S)
    assert ended.result == [7, 1, "count", os.getpid()]


@pytest.mark.parametrize("executor", ["threadpool", "processpool"])
def test_the_failure_of_a_run_is_seen_and_kept(
    scheduler: Scheduler, book: Path, executor: str
) -> None:
    run = scheduler.options(executor=executor).submit(jobs.failing, book=str(book))
    ended = run.wait(WAIT_S)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["code"] == "full"
    assert lines(book, run) == ["begins", "ends with TaskError"]


def test_what_a_cancelled_run_has_opened_is_closed_when_it_is_over(
    scheduler: Scheduler, book: Path
) -> None:
    jobs.waits.clear()
    run = scheduler.submit(jobs.endless, book=str(book))
    assert jobs.waits.wait(WAIT_S)
    assert run.cancel() is True
    assert run.wait(WAIT_S).status == "cancelled"
    assert lines(book, run) == ["begins", "the loop is done", "ends with CancelledError"]


def test_a_run_that_takes_too_long_is_cleaned_up_as_well(scheduler: Scheduler, book: Path) -> None:
    run = scheduler.options(timeout=1.0).submit(jobs.endless, book=str(book))
    assert run.wait(WAIT_S).status == "timeout"
    assert lines(book, run) == ["begins", "the loop is done", "ends with CancelledError"]


def test_arguments_of_dependencies_are_asked_for_when_it_is_submitted(scheduler: Scheduler) -> None:
    with pytest.raises(InvalidArgumentsError, match="a required argument: 'book'; pass it"):
        scheduler.submit(jobs.counted, 7)
    assert scheduler.get_runs() == []
