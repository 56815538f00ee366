"""A call as a scheduler makes it, and dependencies that keep a diary."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from tickwork.model.functions import check_signature, is_coroutine_callable
from tickwork.model.injection import prepared
from tickwork.model.provided import provided

IDS = {"task_id": "the task", "run_id": "the run"}


class Diary:
    """What happened, in order; it hangs on no module, so tests don't meet in it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def opening(self, name: str) -> Callable[[], Iterator[str]]:
        def opened() -> Iterator[str]:
            self.lines.append(f"open {name}")
            try:
                yield name
            except BaseException as error:
                self.lines.append(f"{name} sees {type(error).__name__}")
                raise
            finally:
                self.lines.append(f"close {name}")

        return opened

    def opening_async(self, name: str) -> Callable[[], AsyncIterator[str]]:
        async def opened() -> AsyncIterator[str]:
            self.lines.append(f"open {name}")
            try:
                yield name
            except BaseException as error:
                self.lines.append(f"{name} sees {type(error).__name__}")
                raise
            finally:
                await asyncio.to_thread(self.lines.append, f"close {name}")

        return opened


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do what a scheduler does, from the check of the arguments to the call."""
    check_signature(function, args, kwargs)
    filled = provided(function, args, kwargs, **IDS)
    result = prepared(function)(*args, **filled)
    return asyncio.run(awaited(result)) if is_coroutine_callable(function) else result


async def awaited(result: Any) -> Any:
    return await result
