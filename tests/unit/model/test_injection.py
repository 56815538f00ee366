"""What functions depend on is made for each run, by what FastDepends declares."""

import functools
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fast_depends import Depends, dependency_provider, inject

from tests.unit.model.injecting import called
from tickwork.errors import InvalidArgumentsError, TaskConfigurationError
from tickwork.model.functions import check_signature, is_coroutine_callable
from tickwork.model.injection import prepared
from tickwork.model.signatures import parameters_of
from tickwork.model.values import decode_arguments, encode_arguments

# --- dependencies, and how they are declared -----------------------------------------------------


class Settings:
    def __init__(self, region: str = "eu") -> None:
        self.region = region


class Session:
    def __init__(self, settings: Annotated[Settings, Depends(Settings)]) -> None:
        self.settings = settings


async def connection(settings: Settings = Depends(Settings)) -> str:
    return f"to {settings.region}"


def doubled(number: int) -> int:
    return number * 2


def default(session: Session = Depends(Session)) -> str:
    return session.settings.region


def annotated(session: Annotated[Session, "of ours", Depends(Session)]) -> str:
    return session.settings.region


def quoted(session: "Annotated[Session, Depends(Session)]", other: "Unknown" = 1) -> str:  # type: ignore[name-defined]  # noqa: F821
    return session.settings.region


async def on_loop(
    link: str = Depends(connection),
    session: Annotated[Session, Depends(Session)] = ...,  # type: ignore[assignment]
) -> str:
    return f"{link} {session.settings.region}"


class Job:
    def method(self, session: Annotated[Session, Depends(Session)]) -> str:
        return session.settings.region

    @classmethod
    def of_class(cls, session: Session = Depends(Session)) -> str:
        return session.settings.region

    def __call__(self, session: Annotated[Session, Depends(Session)]) -> str:
        return session.settings.region


job = Job()


@pytest.mark.parametrize(
    "function",
    [
        default, annotated, quoted, job.method, Job.of_class, job, functools.partial(job),
        lambda region=Depends(default): region,
    ],
)  # fmt: skip
def test_dependencies_are_made_wherever_they_are_declared(function: Callable[..., str]) -> None:
    assert called(function) == "eu"


def test_coroutine_functions_stay_such_and_take_plain_dependencies_too() -> None:
    assert is_coroutine_callable(prepared(on_loop))
    assert called(on_loop) == "to eu eu"


def test_a_plain_dependency_does_not_block_the_event_loop() -> None:
    async def function(thread: int = Depends(threading.get_ident)) -> bool:
        return thread != threading.get_ident()

    assert called(function) is True


def test_functions_without_dependencies_are_called_as_they_are() -> None:
    assert prepared(doubled) is doubled
    assert prepared(type) is type
    assert prepared(print) is print


def test_an_object_that_fails_to_say_its_signature_is_called_as_it_is() -> None:
    class Odd:
        @property
        def __signature__(self) -> Any:
            raise RuntimeError("not now")

        def __call__(self, number: int) -> int:
            return number

    odd = Odd()
    assert prepared(odd) is odd
    assert called(odd, 3) == 3


def test_to_prepare_again_changes_nothing() -> None:
    once = prepared(default)
    assert prepared(once) is once
    assert prepared(functools.partial(once)).func is once  # type: ignore[attr-defined]


def test_a_prepared_function_lives_no_longer_than_it_is_held() -> None:
    def function(session: Session = Depends(Session)) -> None: ...

    called(function)
    gone = weakref.ref(function)
    del function
    assert gone() is None


# --- arguments -----------------------------------------------------------------------------------


def priced(number: int, price: int = Depends(doubled), unit: str = "kg") -> Any:
    return number, price, unit


@dataclass
class Order:
    number: int


def ordered(order: Order, region: str = Depends(default)) -> Any:
    return order, region


class Orders:
    order: str  # of the object, not of a call

    def __call__(self, order: Order, region: str = Depends(default)) -> Any:
        return order, region


orders = Orders()


@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [
        ((3,), {}, (3, 6, "kg")),
        (("3",), {}, ("3", "33", "kg")),  # nothing is converted
        ((), {"number": 3, "unit": "g"}, (3, 6, "g")),
        ((3, 5), {}, (3, 5, "kg")),  # a place means what Python says
        ((3,), {"price": None}, (3, None, "kg")),
    ],
)
def test_dependencies_take_arguments_by_name(args: Any, kwargs: Any, result: Any) -> None:
    assert called(priced, *args, **kwargs) == result


def test_a_default_of_the_function_is_an_argument_as_well() -> None:
    def function(number: int = 4, price: int = Depends(doubled)) -> int:
        return price

    assert called(function) == 8


def test_every_kind_of_parameter_keeps_its_place() -> None:
    def function(
        number: int, /, price: int = Depends(doubled), *rest: int, flag: bool = False, **more: int
    ) -> Any:
        return number, price, rest, flag, more

    assert called(function, 1) == (1, 2, (), False, {})
    assert called(function, 1, 5, 6, 7, flag=True, a=1) == (1, 5, (6, 7), True, {"a": 1})


def test_arguments_may_be_for_dependencies_only() -> None:
    def function(price: int = Depends(doubled)) -> int:
        return price

    assert called(function, number=3) == 6
    with pytest.raises(InvalidArgumentsError, match="a required argument: 'number'; pass it"):
        check_signature(function, [], {})
    with pytest.raises(
        InvalidArgumentsError, match=r"unexpected .* 'numer'; did you mean 'number'"
    ):
        check_signature(function, [], {"numer": 3})


def test_what_was_made_before_is_known_by_name_to_what_comes_after() -> None:
    def function(number: int = Depends(lambda: 4), price: int = Depends(doubled)) -> Any:
        return number, price

    assert called(function) == (4, 8)


def test_a_dependency_may_ask_for_the_ids() -> None:
    def prefix(run_id: str, task_id: str = "") -> str:
        return f"{task_id}/{run_id}"

    def function(prefix: str = Depends(prefix), **more: Any) -> Any:
        return prefix, more

    assert called(function) == ("the task/the run", {})
    assert called(function, run_id="mine") == ("the task/mine", {})


@pytest.mark.parametrize("function", [ordered, orders])
def test_data_comes_back_through_annotations_beside_dependencies(
    function: Callable[..., Any],
) -> None:
    payload = encode_arguments([Order(7)], {}, function)
    for each in (function, prepared(function)):
        args, kwargs = decode_arguments(payload, each)
        assert called(each, *args, **kwargs) == (Order(7), "eu")


def test_dependencies_are_not_missed_and_the_rest_is() -> None:
    parameters = parameters_of(priced)
    assert parameters is not None
    assert parameters.required == ("number",)


# --- one for all, or one each --------------------------------------------------------------------


def counter() -> Callable[[], int]:
    numbers = iter(range(100))

    def count() -> int:
        return next(numbers)

    return count


def test_a_dependency_is_made_once_a_run_however_often_it_is_needed() -> None:
    count = counter()

    def beneath(number: int = Depends(count)) -> int:
        return number

    def function(
        one: int = Depends(count), two: int = Depends(beneath), three: int = Depends(count)
    ) -> Any:
        return one, two, three

    assert called(function) == (0, 0, 0)
    assert called(function) == (1, 1, 1)


def test_without_cache_it_is_made_each_time_and_others_still_share() -> None:
    count = counter()

    def function(
        one: int = Depends(count),
        two: int = Depends(count, use_cache=False),
        three: int = Depends(count),
    ) -> Any:
        return one, two, three

    assert called(function) == (0, 1, 0)


def test_what_is_given_stands_in_for_what_would_be_made_beneath_as_well() -> None:
    count = counter()

    def beneath(number: int = Depends(count)) -> int:
        return number

    def function(number: int = Depends(count), same: int = Depends(beneath)) -> Any:
        return number, same

    assert called(function, 77) == (77, 77)


# --- what can't be -------------------------------------------------------------------------------


def test_a_plain_function_cannot_depend_on_an_async_one() -> None:
    def deep(link: str = Depends(connection)) -> None: ...
    def function(a: None = Depends(deep)) -> None: ...

    with pytest.raises(TaskConfigurationError, match=r"deep\(\) is a plain .* 'link' depends on"):
        check_signature(function, [], {})


def test_nor_on_one_that_an_override_makes_async() -> None:
    async def elsewhere() -> str:
        return "elsewhere"

    with (
        dependency_provider.scope(Session, elsewhere),
        pytest.raises(TaskConfigurationError, match=r"elsewhere\(\) is async"),
    ):
        called(default)


# --- beside FastDepends itself -------------------------------------------------------------------


def test_overrides_hold_while_they_hold() -> None:
    def fake() -> Session:
        return Session(Settings("test"))

    with dependency_provider.scope(Session, fake):
        assert called(default) == "test"
    assert called(default) == "eu"


def test_a_function_that_fast_depends_has_injected_is_left_to_it() -> None:
    @inject
    def function(number: int, price: int = Depends(doubled)) -> Any:
        return number, price

    assert prepared(function) is function
    assert called(function, "3") == (3, 6)  # it converts, as FastDepends says


def test_the_ids_reach_what_fast_depends_injects() -> None:
    def prefix(run_id: str) -> str:
        return run_id

    @inject
    def function(task_id: str, prefix: str = Depends(prefix)) -> Any:
        return task_id, prefix

    assert called(function) == ("the task", "the run")


def test_tasks_change_nothing_for_what_fast_depends_injects() -> None:
    @inject
    def function(number: str, price: int = Depends(doubled)) -> int:
        return price

    assert function("3") == 6
    assert called(priced, "3") == ("3", "33", "kg")
    assert function("3") == 6


def test_fast_depends_is_not_imported_for_those_who_do_not_use_it() -> None:
    code = """if True:
        import sys
        from tickwork.model.functions import check_signature
        from tickwork.model.injection import prepared
        from tickwork.model.provided import provided
        def job(a, run_id): ...
        check_signature(job, [1], {})
        assert provided(job, [1], {}, task_id="", run_id="x") == {"run_id": "x"}
        assert prepared(job) is job
        print(sorted(name for name in sys.modules if "depends" in name.split(".")[0]))
    """
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert ended.stdout == "[]\n"
