import asyncio
import json
from collections.abc import Callable
from contextvars import copy_context
from types import SimpleNamespace

import pytest

from tickwork.errors import TaskError
from tickwork.executors import guard
from tickwork.executors.outcomes import run_error, state_after
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState


def attempt(job: Job, now_us: Callable[[], int]) -> Outcome:
    """Run a job in a context of its own, as executors do."""
    return copy_context().run(guard.attempt, job, now_us)


class Local(Exception):  # noqa: N818
    pass


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit


class Bare(TaskError):  # noqa: N818
    def __init__(self) -> None:  # forgets super().__init__
        pass


def raised(error: BaseException) -> RunError:
    def target() -> None:
        raise error

    outcome = attempt(Job("1", "task", 1, target), lambda: 7)
    assert outcome.error is not None
    return outcome.error


def test_builtin_types_have_short_names_and_others_full_ones() -> None:
    assert run_error(ValueError("x")).type == "ValueError"
    assert run_error(Local("x")).type == f"{__name__}.Local"
    assert run_error(json.JSONDecodeError("x", "", 0)).type == "json.decoder.JSONDecodeError"


def test_kinds_are_all_classes_that_say_something() -> None:
    assert run_error(json.JSONDecodeError("x", "", 0)).kinds == (
        "json.decoder.JSONDecodeError",
        "ValueError",
        "Exception",
    )
    assert run_error(Local("x")).kinds == (f"{__name__}.Local", "Exception")
    assert run_error(TimeoutError()).kinds == ("TimeoutError", "OSError", "Exception")
    assert run_error(asyncio.CancelledError()).kinds == ("asyncio.exceptions.CancelledError",)


def test_the_traceback_begins_in_the_tasks_own_code() -> None:
    error = raised(ValueError("wrong"))
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert error.traceback.endswith("ValueError: wrong\n")
    assert error.traceback.count("File ") == 1
    assert "in target" in error.traceback


def test_the_traceback_of_a_coroutine_begins_in_the_tasks_own_code() -> None:
    async def target() -> None:
        raise ValueError

    outcome = attempt(Job("1", "task", 1, target), lambda: 7)
    assert outcome.error is not None
    assert outcome.error.traceback.count("File ") == 1


def test_a_call_that_does_not_fit_has_a_message_and_no_frames() -> None:
    outcome = attempt(Job("1", "task", 1, lambda: None, args=(1,)), lambda: 7)
    assert outcome.error is not None
    assert outcome.error.type == "TypeError"
    assert "File " not in outcome.error.traceback


def test_the_cause_is_in_the_traceback() -> None:
    def target() -> None:
        try:
            _ = 1 / 0
        except ZeroDivisionError as error:
            raise ValueError from error

    outcome = attempt(Job("1", "task", 1, target), lambda: 7)
    assert outcome.error is not None
    assert "ZeroDivisionError" in outcome.error.traceback


def test_long_texts_are_bounded() -> None:
    error = raised(ValueError("x" * 100_000))
    assert len(error.message) == 10_000
    assert len(error.traceback) == 20_000


def test_endless_recursion_is_bounded() -> None:
    def target() -> None:
        target()

    outcome = attempt(Job("1", "task", 1, target), lambda: 7)
    assert outcome.error is not None
    assert outcome.error.type == "RecursionError"
    assert len(outcome.error.traceback) <= 20_000


def test_an_error_without_words_is_still_told() -> None:
    error = raised(Unspeakable())
    assert error.message == "<no text: it raised SystemExit>"
    assert "Unspeakable" in error.traceback


def test_texts_fit_every_database() -> None:
    message = run_error(ValueError("a\0b\ud800")).message
    assert message == "a\\x00b\\ud800"


def test_a_task_error_keeps_code_and_details() -> None:
    error = run_error(TaskError("no_stock", "sold out", {"left": [0, {"a": None}]}))
    assert error.code == "no_stock"
    assert error.message == "sold out"
    assert error.details == {"left": [0, {"a": None}]}


@pytest.mark.parametrize("odd", [float("nan"), {1, 2}, object(), b"x", {"a": {1}}])
def test_details_that_are_not_json_are_described(odd: object) -> None:
    details = run_error(TaskError("code", details={"odd": odd, "even": 2})).details
    assert details == {"odd": repr(odd), "even": 2}


def test_details_that_contain_themselves_are_described() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert run_error(TaskError("code", details={"loop": loop})).details == {"loop": "[[...]]"}


def test_a_careless_subclass_of_task_error_is_an_error_like_any_other() -> None:
    error = run_error(Bare())
    assert error.type == f"{__name__}.Bare"
    assert error.code is None
    assert error.details == {}


def test_a_time_out_of_the_tasks_own_is_a_failure() -> None:
    assert state_after(TimeoutError()) is RunState.FAILED


def test_only_asyncios_cancellation_is_one() -> None:
    assert state_after(asyncio.CancelledError()) is RunState.CANCELLED
    assert state_after(SystemExit()) is RunState.FAILED


def test_an_attempt_has_the_times_of_the_given_clock() -> None:
    clock = iter([100, 250])
    job = Job("1", "task", 1, lambda: "done")
    outcome = attempt(job, lambda: next(clock))
    assert (outcome.started_us, outcome.finished_us, job.started_us) == (100, 250, 100)
    assert outcome.result == "done"


def test_an_awaitable_object_is_awaited() -> None:
    class Later:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield from asyncio.sleep(0).__await__()  # noqa: TID251
            return "done"

    assert attempt(Job("1", "task", 1, Later), lambda: 7).result == "done"
    assert attempt(Job("1", "task", 1, SimpleNamespace), lambda: 7).result == SimpleNamespace()
