"""What a run has opened is closed before it ends, however it ends."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from fast_depends import Depends

from tests.unit.model.injecting import Diary, called
from tickwork.model.injection import prepared


@pytest.fixture
def diary() -> Diary:
    return Diary()


def test_what_was_opened_is_closed_the_last_first(diary: Diary) -> None:
    def function(a: str = Depends(diary.opening("a")), b: str = Depends(diary.opening("b"))) -> str:
        diary.lines.append("run")
        return a + b

    assert called(function) == "ab"
    assert diary.lines == ["open a", "open b", "run", "close b", "close a"]


def test_on_an_event_loop_as_well(diary: Diary) -> None:
    async def function(
        a: str = Depends(diary.opening("a")), b: str = Depends(diary.opening_async("b"))
    ) -> str:
        diary.lines.append("run")
        return a + b

    assert called(function) == "ab"
    assert diary.lines == ["open a", "open b", "run", "close b", "close a"]


CLOSED = ["open a", "open b", "b sees {0}", "close b", "a sees {0}", "close a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_dependencies_see_how_a_run_fails(diary: Diary, error: type[BaseException]) -> None:
    def function(
        a: str = Depends(diary.opening("a")), b: str = Depends(diary.opening("b"))
    ) -> None:
        raise error

    with pytest.raises(error):
        called(function)
    assert diary.lines == [line.format(error.__name__) for line in CLOSED]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, StopAsyncIteration])
def test_dependencies_see_how_a_coroutine_fails(diary: Diary, error: type[BaseException]) -> None:
    async def function(
        a: str = Depends(diary.opening("a")), b: str = Depends(diary.opening_async("b"))
    ) -> None:
        raise error

    expected = RuntimeError if error is StopAsyncIteration else error
    with pytest.raises((error, expected)):
        called(function)
    assert diary.lines == [line.format(error.__name__) for line in CLOSED]


def test_a_cancelled_coroutine_is_cleaned_up_before_it_ends(diary: Diary) -> None:
    async def main() -> None:
        running = asyncio.Event()

        async def function(
            a: str = Depends(diary.opening("a")), b: str = Depends(diary.opening_async("b"))
        ) -> None:
            running.set()
            await asyncio.Event().wait()

        run = asyncio.create_task(prepared(function)())
        await running.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert diary.lines == [line.format("CancelledError") for line in CLOSED]

    asyncio.run(main())


def test_what_is_being_opened_when_a_coroutine_is_cancelled_is_closed_too(diary: Diary) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[str]:
        opening.set()
        assert go_on.wait(30)
        yield from diary.opening("slow")()

    async def main() -> None:
        async def function(a: str = Depends(slow)) -> None: ...

        run = asyncio.create_task(prepared(function)())
        assert await asyncio.to_thread(opening.wait, 30)
        run.cancel()
        await asyncio.wait([run], timeout=0)
        assert not run.done()  # it waits for what it would have to close
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert diary.lines == ["open slow", "slow sees CancelledError", "close slow"]

    asyncio.run(main())


def test_a_dependency_cannot_hide_that_its_run_failed(diary: Diary) -> None:
    def swallowing() -> Iterator[None]:
        try:
            yield
        except ValueError:
            diary.lines.append("swallowed")

    def function(a: str = Depends(diary.opening("a")), b: None = Depends(swallowing)) -> None:
        raise ValueError("as it was")

    async def coroutine(
        a: str = Depends(diary.opening("a")), b: None = Depends(swallowing)
    ) -> None:
        raise ValueError("as it was")

    for each in (function, coroutine):
        diary.lines.clear()
        with pytest.raises(ValueError, match="as it was"):
            called(each)
        assert diary.lines == ["open a", "swallowed", "a sees ValueError", "close a"]


@pytest.mark.parametrize("error", [ValueError, StopIteration, SystemExit])
@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_what_can_not_be_made_fails_the_run_and_the_rest_is_closed(
    diary: Diary, error: type[BaseException], kind: str
) -> None:
    def broken() -> None:
        raise error

    def function(a: str = Depends(diary.opening("a")), b: None = Depends(broken)) -> None:
        diary.lines.append("run")

    async def coroutine(a: str = Depends(diary.opening("a")), b: None = Depends(broken)) -> None:
        diary.lines.append("run")

    # A coroutine can't raise StopIteration; Python makes a RuntimeError of it.
    with pytest.raises((error, RuntimeError)):
        called(function if kind == "function" else coroutine)
    assert diary.lines[0] == "open a"
    assert diary.lines[-1] == "close a"
    assert "run" not in diary.lines


def test_a_clean_up_that_fails_fails_the_run(diary: Diary) -> None:
    def broken() -> Iterator[None]:
        yield
        raise LookupError("while closing")

    def function(a: str = Depends(diary.opening("a")), b: None = Depends(broken)) -> None: ...

    with pytest.raises(LookupError, match="while closing"):
        called(function)
    assert diary.lines == ["open a", "a sees LookupError", "close a"]
