"""Functions have a name by which every process finds the same one, or are refused."""

import asyncio
import functools
import gc
import inspect
import os
import subprocess
import sys
import types
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickwork.errors import InvalidArgumentsError, InvalidReferenceError
from tickwork.model.functions import (
    check_reference,
    check_signature,
    is_coroutine_callable,
    is_generator_callable,
    name_of,
    reference_of,
    resolve,
    unwrapped_partial,
)
from tickwork.model.signatures import parameters_of

ROOT = Path(__file__).parents[3]


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def disguised(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper() -> None: ...

    wrapper.__qualname__ = function.__qualname__
    return wrapper


def send_report(to: str, copies: int = 1) -> None: ...


def _undecorated() -> None: ...


_undecorated.__name__ = _undecorated.__qualname__ = "decorated"
decorated = logged(_undecorated)


def renamed() -> None: ...


_original_renamed = renamed
renamed = disguised(renamed)


class Shop:
    def close(self) -> None: ...

    @staticmethod
    def count() -> None: ...

    @classmethod
    def make(cls) -> None: ...

    class Till:
        @classmethod
        def empty(cls) -> None: ...

    def __call__(self) -> None: ...


class Branch(Shop):
    pass


shop = Shop()
number = 5
square = lambda x: x  # noqa: E731


@functools.lru_cache
def cached() -> None: ...


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


def counting() -> Generator[int, None, None]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class AsyncCallable:
    async def __call__(self) -> None: ...

    async def method(self) -> None: ...


class GeneratorCallable:
    def __call__(self) -> Iterator[int]:
        yield 1


def nested() -> Callable[..., Any]:
    def inner() -> None: ...

    return inner


class TestReferenceOf:
    @pytest.mark.parametrize(
        ("function", "path"),
        [
            (send_report, "send_report"),
            (decorated, "decorated"),
            (cached, "cached"),
            (coroutine, "coroutine"),
            (Shop, "Shop"),
            (Shop.close, "Shop.close"),
            (Shop.count, "Shop.count"),
            (Shop.make, "Shop.make"),
            (Branch.make, "Branch.make"),
            (Branch.close, "Shop.close"),
            (Shop.Till.empty, "Shop.Till.empty"),
        ],
    )
    def test_leads_back_to_the_function(self, function: Callable[..., Any], path: str) -> None:
        reference = reference_of(function)
        assert reference == f"{__name__}:{path}"
        assert resolve(reference) == function

    def test_builtin_functions_have_one(self) -> None:
        assert reference_of(print) == "builtins:print"
        assert reference_of(os.getcwd) == f"{os.name}:getcwd"
        assert reference_of(dict.fromkeys) == "builtins:dict.fromkeys"

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (square, "is a lambda; write it as a function at the top of a module"),
            (nested(), "defined inside a function; move it to the top of its module"),
            (functools.partial(send_report, "a"), "functools.partial; pass its function"),
            (shop.close, "method of one Shop object.*module:object.method"),
            (shop, "an object of class Shop.*'module:name'"),
            (counting().send, "method of one generator object.*memory store"),
            (str.upper, "which module"),
            (_undecorated, "a decorated form of this function.*on top"),
            (_original_renamed, r"another object.*functools\.wraps"),
            (mock.MagicMock(), "object of class MagicMock"),
        ],
    )
    def test_refuses_what_others_could_not_find(
        self, function: Callable[..., Any], message: str
    ) -> None:
        with pytest.raises(InvalidReferenceError, match=message):
            reference_of(function)

    def test_a_name_that_is_not_bound_yet_can_be_taken_unverified(self) -> None:
        def early() -> None: ...

        early.__qualname__ = "early"
        assert reference_of(early, verify=False) == f"{__name__}:early"
        with pytest.raises(InvalidReferenceError, match="has no 'early'"):
            reference_of(early)


class TestResolve:
    def test_finds_attributes_of_objects(self) -> None:
        assert resolve(f"{__name__}:shop.close") == shop.close
        assert resolve(f"{__name__}:shop") is shop
        assert resolve("os.path:join") is os.path.join

    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            ("no_such_module_here:f", "there is no module 'no_such_module_here' here; install it"),
            ("os.nothing:f", "there is no module 'os.nothing' here"),
            (f"{__name__}:send_repot", "has no 'send_repot'; did you mean 'send_report'"),
            (f"{__name__}:Shop.clos", r"Shop has no 'clos'; did you mean 'close'"),
            (f"{__name__}:number", "refers to int 5, which can't be called"),
            ("os:path", "refers to module .*can't be called"),
        ],
    )
    def test_says_what_is_missing(self, reference: str, message: str) -> None:
        with pytest.raises(InvalidReferenceError, match=message):
            resolve(reference)

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("raise SystemExit(3)", "importing 'bad_one' failed with SystemExit: 3"),
            ("1/0", "ZeroDivisionError: division by zero"),
            ("import no_such_module_here", "ModuleNotFoundError: No module named"),
            ("def", "SyntaxError"),
            ("raise GeneratorExit", "GeneratorExit"),
            ("def __getattr__(name): raise OSError('lazy')", "bad_one.f failed with OSError: lazy"),
        ],
    )
    def test_an_import_that_fails_is_a_missing_function(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
    ) -> None:
        (tmp_path / "bad_one.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        with pytest.raises(InvalidReferenceError, match=message) as caught:
            resolve("bad_one:f")
        sys.modules.pop("bad_one", None)
        assert caught.value.__cause__ is not None

    def test_an_interrupted_import_stays_an_interrupt(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "slow_one.py").write_text("raise KeyboardInterrupt")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            resolve("slow_one:f")


class TestCheckReference:
    @pytest.mark.parametrize("text", ["a:b", "shop.jobs:close_day", "a.b.c:D.e.f", "ä:ö"])
    def test_accepts(self, text: str) -> None:
        check_reference(text)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("shop.jobs.close_day", "for example 'shop.jobs:close_day'"),
            ("close_day", "write 'module:function'"),
            ("", "write 'module:function'"),
            (":f", "write 'module:function'"),
            ("a:", "write 'module:function'"),
            ("a:b:c", "write 'module:function'"),
            ("a..b:c", "write 'module:function'"),
            (" a:b", "write 'module:function'"),
            ("a:import", "write 'module:function'"),
            ("a:b()", "write 'module:function'"),
            ("a/b:c", "write 'module:function'"),
            ("a:<lambda>", "lambdas and nested"),
            ("a:b.<locals>.c", "lambdas and nested"),
            ("__main__:f", "script that happens to run"),
            (None, "not a reference"),
        ],
    )
    def test_refuses(self, text: Any, message: str) -> None:
        with pytest.raises(InvalidReferenceError, match=message):
            check_reference(text)

    @given(st.text())
    def test_never_fails_otherwise(self, text: str) -> None:
        with suppress(InvalidReferenceError):
            check_reference(text)


SCRIPT = """
import sys
from tickwork.model.functions import reference_of, resolve
from tickwork.errors import InvalidReferenceError

loaded = globals().get("loaded", 0) + 1

def job(): ...

if __name__ == "__main__":
    try:
        reference = reference_of(job)
    except InvalidReferenceError as error:
        print("refused:", error)
    else:
        module = reference.partition(":")[0]
        print(reference, resolve(reference) is job, module in sys.modules)
"""


class TestMainScript:
    def run(self, folder: Path, *arguments: str, **options: Any) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            **options,
        )
        return done.stdout.strip()

    def test_has_its_importable_name(self, tmp_path: Path) -> None:
        (tmp_path / "my_jobs.py").write_text(SCRIPT)
        assert self.run(tmp_path, "my_jobs.py") == "my_jobs:job True False"
        assert self.run(tmp_path, "-m", "my_jobs") == "my_jobs:job True False"

    def test_has_its_name_in_its_package(self, tmp_path: Path) -> None:
        package = tmp_path / "pack"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "inside.py").write_text(SCRIPT)
        (package / "__main__.py").write_text(SCRIPT)
        assert self.run(tmp_path, "-m", "pack.inside") == "pack.inside:job True False"
        assert self.run(tmp_path, "-m", "pack") == "pack.__main__:job True False"

    def test_is_refused_without_one(self, tmp_path: Path) -> None:
        (tmp_path / "my-jobs.py").write_text(SCRIPT)
        (tmp_path / "json.py").write_text(SCRIPT)  # the standard library's is found first
        assert "move it into a module" in self.run(tmp_path, "my-jobs.py")
        assert "move it into a module" in self.run(tmp_path, "-P", "json.py")
        assert "move it into a module" in self.run(tmp_path, "-", input=SCRIPT)
        assert "move it into a module" in self.run(tmp_path, "-c", SCRIPT)

    def test_is_the_same_in_a_spawned_process(self, tmp_path: Path) -> None:
        script = SCRIPT.partition("if __name__")[0] + (
            "def check(reference):\n"
            "    return resolve(reference) is job, 'spawning' in sys.modules, reference_of(job)\n"
            "if __name__ == '__main__':\n"
            "    import multiprocessing\n"
            "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
            "        print(*pool.apply(check, [reference_of(job)]))\n"
        )
        (tmp_path / "spawning.py").write_text(script)
        assert self.run(tmp_path, "spawning.py") == "True False spawning:job"
        assert self.run(tmp_path, "-m", "spawning") == "True False spawning:job"


class TestKinds:
    def test_nested_partials_are_flattened(self) -> None:
        class Other(functools.partial):  # type: ignore[type-arg]  # never merged into its outer one
            pass

        inner = Other(send_report, 1, 2, a=1, b=1)
        outer = functools.partial(inner, 3, b=2)
        assert unwrapped_partial(outer) == (send_report, (1, 2, 3), {"a": 1, "b": 2})
        assert unwrapped_partial(send_report) == (send_report, (), {})

    @pytest.mark.parametrize(
        "function",
        [
            coroutine,
            functools.partial(functools.partial(coroutine)),
            AsyncCallable(),
            functools.partial(AsyncCallable()),
            AsyncCallable().method,
            AsyncCallable.method,
            mock.AsyncMock(),
        ],
    )
    def test_coroutine_callables(self, function: Callable[..., Any]) -> None:
        assert is_coroutine_callable(function)

    def test_marked_functions_are_coroutine_callables(self) -> None:
        def marked() -> None: ...

        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(marked)
        else:
            mark = vars(asyncio.coroutines)["_is_coroutine"]  # as asgiref does it
            marked.__dict__["_is_coroutine"] = mark
        assert is_coroutine_callable(marked)

    @pytest.mark.parametrize(
        "function",
        [send_report, AsyncCallable, async_generator, generator, print, shop, mock.MagicMock()],
    )
    def test_others_are_not(self, function: Callable[..., Any]) -> None:
        assert not is_coroutine_callable(function)

    def test_generator_callables(self) -> None:
        generators: list[Callable[..., Any]] = [
            generator,
            async_generator,
            functools.partial(generator),
            GeneratorCallable(),
        ]
        assert all(is_generator_callable(each) for each in generators)
        others: list[Callable[..., Any]] = [
            send_report,
            coroutine,
            GeneratorCallable,
            generator().__next__,
        ]
        assert not any(is_generator_callable(each) for each in others)

    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (send_report, "send_report"),
            (Shop.close, "Shop.close"),
            (shop.close, "Shop.close"),
            (shop, "Shop"),
            (functools.partial(functools.partial(send_report, "a")), "send_report"),
            (nested(), "inner"),
            (square, "<lambda>"),
            (print, "print"),
            (counting().send, "generator.send"),
            (mock.MagicMock(), "MagicMock"),
        ],
    )
    def test_names(self, function: Callable[..., Any], name: str) -> None:
        assert name_of(function) == name


def positional_only(a: int, b: int = 1, /, **more: int) -> None: ...
def every_kind(a: int, /, b: int, c: int = 1, *rest: int, d: int, e: int = 1) -> None: ...
def keyword_only(*, to: int, subject: str) -> None: ...
def rest_only(*rest: int) -> None: ...


class TestCheckSignature:
    @pytest.mark.parametrize(
        ("function", "args", "kwargs", "message"),
        [
            (
                send_report,
                "",
                {},
                r"report\(\) is missing a required argument: 'to'; pass it with args= or kwargs=",
            ),
            (keyword_only, "", {}, "2 required arguments: 'to', 'subject'; pass them with kwargs="),
            (positional_only, "", {}, "a required argument: 'a'; pass it with args="),
            (send_report, "xyz", {}, "takes 2 positional arguments at most.*has 3: leave out 'z'"),
            (send_report, "x", {"to": 2}, r"two values for 'to': args\[0\] and kwargs\['to'\]"),
            (send_report, "x", {"copy": 2}, "unexpected .* 'copy'; did you mean 'copies'"),
            (send_report, "x", {"zzz": 2}, "unexpected .* 'zzz'; it takes to, copies"),
            (every_kind, "", {"a": 1, "b": 1, "d": 1}, "'a': it is accepted by position only"),
            (functools.partial(send_report, "a"), "xy", {}, "takes 1 positional"),
        ],
    )
    def test_refuses(self, function: Any, args: str, kwargs: dict[str, int], message: str) -> None:
        with pytest.raises(InvalidArgumentsError, match=message):
            check_signature(function, list(args), kwargs)

    def test_callables_without_signature_accept_everything(self) -> None:
        check_signature(type, [1, 2, 3, 4], {"a": 1})
        assert parameters_of(type) is None

    @given(
        st.sampled_from(
            [
                send_report, positional_only, every_kind, keyword_only, rest_only, Shop.close,
                shop.close, Shop, functools.partial(send_report, "a"), square, shop,
                functools.partial(every_kind, 1, d=2), cached, decorated, Shop.make,
            ]
        ),
        st.lists(st.just(1), max_size=5),
        st.dictionaries(
            st.sampled_from(["a", "b", "c", "d", "e", "to", "copies", "task_id", "x"]), st.just(1)
        ),
    )  # fmt: skip
    def test_agrees_with_a_real_call(
        self, function: Callable[..., Any], args: list[int], kwargs: dict[str, int]
    ) -> None:
        try:
            function(*args, **kwargs)  # inspect's own bind is wrong about positional-only ones
        except TypeError:
            with pytest.raises(InvalidArgumentsError):
                check_signature(function, args, kwargs)
        else:
            check_signature(function, args, kwargs)

    def test_bound_and_unbound_methods_are_told_apart(self) -> None:
        check_signature(shop.close, [], {})
        check_signature(Shop.close, [shop], {})
        with pytest.raises(InvalidArgumentsError):
            check_signature(Shop.close, [], {})

    def test_objects_that_cannot_be_remembered_are_read_each_time(self) -> None:
        class Unhashable:
            __slots__ = ()
            __hash__ = None  # type: ignore[assignment]

            def __call__(self, it: int) -> None: ...

        check_signature(Unhashable(), [1], {})

    def test_nothing_keeps_a_function_alive(self) -> None:
        function: Any = types.FunctionType(send_report.__code__, globals())
        check_signature(function, [1], {"copies": 2})
        gone = weakref.ref(function)
        del function
        gc.collect()
        assert gone() is None
