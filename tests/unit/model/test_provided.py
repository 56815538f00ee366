"""Functions receive the ids of their task and run, if they ask for them by name."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tickwork.errors import InvalidArgumentsError
from tickwork.model.functions import check_signature
from tickwork.model.provided import asks_for_ids, provided

IDS = {"task_id": "the task", "run_id": "the run"}


def asking(task_id: str, run_id: str) -> Any:
    return task_id, run_id


def asking_last(to: str, *, run_id: str) -> Any:
    return to, run_id


def by_default(task_id: str = "none") -> Any:
    return task_id


def by_place(task_id: str = "none", /) -> Any:
    return task_id


def required_by_place(task_id: str, /) -> Any:
    return task_id


def anything(*task_id: Any, **run_id: Any) -> Any:
    return task_id, run_id


def plain(to: str) -> Any:
    return to


class Report:
    def send(self, run_id: str) -> Any:
        return run_id

    @classmethod
    def make(cls, run_id: str) -> Any:
        return run_id

    def __call__(self, to: str, run_id: str) -> Any:
        return to, run_id


report = Report()


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    check_signature(function, args, kwargs)
    return function(*args, **provided(function, args, kwargs, **IDS))


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "result"),
    [
        (asking, (), {}, ("the task", "the run")),
        (asking, ("mine",), {}, ("mine", "the run")),
        (asking, (), {"run_id": "mine"}, ("the task", "mine")),
        (asking, ("mine", None), {}, ("mine", None)),
        (asking_last, ("a",), {}, ("a", "the run")),
        (by_default, (), {}, "the task"),
        (by_default, ("mine",), {}, "mine"),
        (by_place, (), {}, "none"),
        (anything, (), {}, ((), {})),
        (anything, (1,), {"a": 2}, ((1,), {"a": 2})),
        (plain, ("a",), {}, "a"),
        (report.send, (), {}, "the run"),
        (Report.make, (), {}, "the run"),
        (report, ("a",), {}, ("a", "the run")),
        (functools.partial(report, "a"), (), {}, ("a", "the run")),
        (functools.partial(asking, run_id="mine"), (), {}, ("the task", "mine")),
    ],
)
def test_what_is_asked_for_and_not_given_is_provided(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    assert called(function, *args, **kwargs) == result


def test_what_cannot_be_given_by_name_is_missing() -> None:
    with pytest.raises(InvalidArgumentsError, match="'task_id'; pass it with args="):
        check_signature(required_by_place, [], {})


def test_other_arguments_are_missed_as_before() -> None:
    with pytest.raises(InvalidArgumentsError, match="a required argument: 'to'; pass it"):
        check_signature(asking_last, [], {})


@pytest.mark.parametrize("function", [plain, anything, by_place, type])
def test_where_nothing_is_asked_for_nothing_is_made(function: Callable[..., Any]) -> None:
    kwargs: Mapping[str, Any] = {"to": 1}
    assert provided(function, (), kwargs, **IDS) is kwargs


def test_what_was_given_is_left_as_it_is() -> None:
    kwargs: Mapping[str, Any] = {"run_id": "mine"}
    assert provided(asking, (), kwargs, **IDS) == {"run_id": "mine", "task_id": "the task"}
    assert kwargs == {"run_id": "mine"}


@pytest.mark.parametrize("function", [plain, anything, by_place, type, asking])
def test_who_asks_for_ids_is_who_is_given_some(function: Callable[..., Any]) -> None:
    assert asks_for_ids(function) is bool(provided(function, (), {}, **IDS))
