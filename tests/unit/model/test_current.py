import asyncio
import json
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from tickwork.errors import InvalidInputError, SchedulerStateError
from tickwork.model.current import (
    LOG_LINES,
    CurrentRun,
    add_line,
    current_job,
    current_run,
    update_progress,
)
from tickwork.model.jobs import Job
from tickwork.model.policies import RunState


class Told(Job):
    """A job that counts how often it was told of something."""

    __slots__ = ("times",)

    def __init__(self, **fields: Any) -> None:
        super().__init__("run-1", "task", 2, print, **fields)
        self.times = 0

    def noted(self) -> None:
        self.times += 1


def within(job: Job, call: Callable[[], Any]) -> Any:
    context = Context()
    context.run(current_job.set, job)
    return context.run(call)


def progress(*said: Any) -> Any:
    """Say something in a run, and return what is kept of it."""
    job = Told()
    within(job, lambda: update_progress(*said))
    assert job.times == 1
    assert job.progress is not None
    return json.loads(job.progress)


@pytest.mark.parametrize("call", [current_run, lambda: update_progress(1)])
def test_outside_of_a_run_the_error_says_where_it_works(call: Callable[[], object]) -> None:
    with pytest.raises(SchedulerStateError, match="in a task's function"):
        Context().run(call)


def test_a_run_knows_what_its_job_knows() -> None:
    job = Told(fire_us=1_700_000_000_000_001, fence=7)
    run: CurrentRun = within(job, current_run)
    assert (run.id, run.task_id, run.attempt, run.fence) == ("run-1", "task", 2, 7)
    assert run.fire_time == datetime(2023, 11, 14, 22, 13, 20, 1, UTC)
    assert repr(run) == "<CurrentRun run-1 of 'task', attempt 2>"


def test_a_run_that_is_not_scheduled_has_no_fire_time() -> None:
    assert CurrentRun(Told()).fire_time is None


@pytest.mark.parametrize("ending", [RunState.CANCELLED, RunState.TIMEOUT])
def test_a_run_sees_that_it_is_to_end(ending: RunState) -> None:
    job = Told()
    run = CurrentRun(job)
    assert not run.cancelled
    job.ending = ending
    assert run.cancelled


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ((40,), {"percent": 40.0}),
        ((0,), {"percent": 0.0}),
        ((99.5, "soon"), {"percent": 99.5, "message": "soon"}),
        ((Fraction(1, 4),), {"percent": 0.25}),
        (((1, 2),), {"percent": 50.0, "done": 1, "total": 2}),
        (([29, 100], ""), {"percent": 29.0, "done": 29, "total": 100, "message": ""}),
        (((0.5, 2.0),), {"percent": 25.0, "done": 0.5, "total": 2.0}),
        (((0, 0),), {"percent": None, "done": 0, "total": 0}),
        (((0.1, 0.1),), {"percent": 100.0, "done": 0.1, "total": 0.1}),
    ],
)
def test_progress_is_kept_as_far_as_it_is_known(said: tuple[Any, ...], kept: object) -> None:
    assert progress(*said) == kept


def test_progress_is_compact() -> None:
    job = Told()
    CurrentRun(job).progress((1, 4), "ä")
    assert job.progress == '{"percent":25.0,"done":1,"total":4,"message":"ä"}'


@pytest.mark.parametrize(
    "done",
    [
        -1,
        100.001,
        101,
        float("nan"),
        float("inf"),
        True,
        None,
        "50",
        1j,
        (),
        (1,),
        (1, 2, 3),
        (-1, 2),
        (3, 2),
        (1, 0),
        (1, float("nan")),
        (float("nan"), 1),
        (1, float("inf")),
        (1, 2**64),
        (True, 2),
        (1, None),
        ("1", 2),
    ],
)
def test_senseless_progress_is_refused_and_changes_nothing(done: Any) -> None:
    job = Told()
    with pytest.raises(InvalidInputError, match=r"from 0 to|\(done, total\)"):
        CurrentRun(job).progress(done)
    assert (job.progress, job.times) == (None, 0)


def test_a_message_must_be_a_text() -> None:
    message: Any = 5
    with pytest.raises(InvalidInputError, match="must be a text, not 5"):
        CurrentRun(Told()).progress(1, message)


def test_messages_are_bounded_and_fit_every_database() -> None:
    assert progress(1, "x" * 5_000)["message"] == "x" * 1_000
    assert progress(1, "a\0b\ud800")["message"] == "a\\x00b\\ud800"


def test_an_update_may_be_awaited_and_has_happened_before() -> None:
    async def task() -> object:
        update_progress(1)
        later = update_progress(2)
        assert json.loads(job.progress or "")["percent"] == 2.0
        return await later  # type: ignore[func-returns-value]  # that it is nothing is the point

    job = Told()
    assert within(job, lambda: asyncio.run(task())) is None
    assert job.times == 2


def test_the_last_lines_are_kept() -> None:
    job = Told()
    for number in range(LOG_LINES + 3):
        add_line(job, str(number))
    assert list(job.log or ()) == [str(number) for number in range(3, LOG_LINES + 3)]
    assert job.times == LOG_LINES + 3
