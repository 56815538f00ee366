"""Calls of functions with all that they depend on, by FastDepends' rules.

```python
from fast_depends import Depends

def open_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session

@scheduler.task("cron", hour=3)
def close_day(shop: str, session: Annotated[Session, Depends(open_session)]) -> None: ...
```

FastDepends says what is depended on; the making is ours. Its `inject` converts arguments, while
those of a task are data that has been decoded already; it reads positional arguments past the
dependencies; it keeps what it knows of a dependency in one registry of the process, so that
injecting here would change what functions of the user's own get there; and it leaves the clean-up
of plain generators to the garbage collector when a coroutine is cancelled. So nothing is converted
here, places mean what Python says, and whatever has been made is cleaned up, the last first, before
the run is over, however it ends (a process that is ended, and a thread that is left behind, clean
up nothing). A function that is decorated with `fast_depends.inject` gets all that FastDepends does,
from FastDepends; its overrides for tests hold for both.

In a coroutine, plain dependencies are made in threads, since they may block. A plain function can't
depend on an async one.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import wraps
from inspect import BoundArguments
from typing import Any, NamedTuple

from tickwork.errors import TaskConfigurationError
from tickwork.model.callables import (
    INJECTED,
    is_coroutine_callable,
    is_generator_callable,
    name_of,
    unwrapped_partial,
)
from tickwork.model.dependencies import Needs, is_async, needs_of
from tickwork.model.signatures import parameters_of

__all__ = ["prepared"]


def prepared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what to call for `function`: itself, or what also makes all that it depends on.

    Coroutine functions stay such. Repeated, it does nothing new; to ask costs next to nothing.
    """
    needs = needs_of(function)
    if needs is None or not needs.dependencies or hasattr(unwrapped_partial(function)[0], INJECTED):
        return function
    call = (_on_loop if is_coroutine_callable(function) else _plainly)(function, needs)
    setattr(call, INJECTED, function)
    return call


def _plainly(function: Callable[..., Any], needs: Needs) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            bound = _bound(function, needs, args, kwargs)
            steps = _steps(needs, bound, kwargs, {})
            step = _next(steps)
            while step is not None:
                step = _next(steps, _made(step, stack))
            return function(*bound.args, **bound.kwargs)

    return call


def _on_loop(function: Callable[..., Any], needs: Needs) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with AsyncExitStack() as stack:
            bound = _bound(function, needs, args, kwargs)
            steps = _steps(needs, bound, kwargs, {})
            step = _next(steps)
            while step is not None:
                step = _next(steps, await _made_on_loop(step, stack))
            return await function(*bound.args, **bound.kwargs)

    return call


# --- what to make, in which order: no I/O, and the same on and off an event loop ---------------


class _Step(NamedTuple):
    """The next value to make."""

    maker: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


_Steps = Generator[_Step, Any, None]


def _next(steps: _Steps, value: Any = None) -> _Step | None:
    """Hand in the value of the step before, and return the next one."""
    try:
        return steps.send(value)
    except StopIteration:
        return None


def _bound(
    function: Callable[..., Any], needs: Needs, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> BoundArguments:
    """Return the arguments of a call, without those that are for dependencies only."""
    parameters = parameters_of(function)
    beside = () if parameters is None else parameters.beside
    own = {name: value for name, value in kwargs.items() if name not in beside}
    return needs.signature.bind_partial(*args, **own)


def _steps(
    needs: Needs, bound: BoundArguments, names: Mapping[str, Any], made: dict[Any, Any]
) -> _Steps:
    """Fill `bound` with the dependencies that it lacks.

    `names` are values for the arguments of dependencies, `made` what the run shares by now.
    """
    lacking = {
        name: each for name, each in needs.dependencies.items() if name not in bound.arguments
    }
    for name in needs.dependencies.keys() - lacking:
        made[needs.dependencies[name].current()] = bound.arguments[name]
    bound.apply_defaults()
    names = {
        **names,
        **{name: bound.arguments[name] for name in needs.arguments if name in bound.arguments},
    }
    for name, dependency in lacking.items():
        maker = dependency.current()
        if dependency.shared and maker in made:
            value = made[maker]
        else:
            value = yield from _making(maker, names, made)
        if dependency.shared:
            made[maker] = value
        names[name] = bound.arguments[name] = value


def _making(
    maker: Callable[..., Any], names: Mapping[str, Any], made: dict[Any, Any]
) -> Generator[_Step, Any, Any]:
    needs = needs_of(maker)
    if needs is None:
        return (yield _Step(maker, (), {}))
    given = {name: names[name] for name in needs.arguments if name in names}
    bound = BoundArguments(needs.signature, given)
    yield from _steps(needs, bound, names, made)
    return (yield _Step(maker, bound.args, bound.kwargs))


# --- how to make it, and to clean it up: `leave` returns nothing, so nothing hides a failure ------


def _made(step: _Step, stack: ExitStack) -> Any:
    maker, args, kwargs = step
    if is_async(maker):  # refused when the task was added; what overrides it came later
        raise TaskConfigurationError(
            f"{name_of(maker)}() is async, and what depends on it is a plain function"
        )
    if not is_generator_callable(maker):
        return maker(*args, **kwargs)
    manager = contextmanager(maker)(*args, **kwargs)
    value = manager.__enter__()

    def leave(*raised: Any) -> None:
        manager.__exit__(*raised)

    stack.push(leave)
    return value


async def _made_on_loop(step: _Step, stack: AsyncExitStack) -> Any:
    maker, args, kwargs = step
    generates = is_generator_callable(maker)
    if is_async(maker):
        if generates:
            return await _entered(asynccontextmanager(maker)(*args, **kwargs), stack)
        return await maker(*args, **kwargs)
    if generates:
        return await _entered_aside(contextmanager(maker)(*args, **kwargs), stack)
    return _value(await asyncio.to_thread(_caught, maker, *args, **kwargs))


async def _entered(manager: AbstractAsyncContextManager[Any], stack: AsyncExitStack) -> Any:
    value = await manager.__aenter__()

    async def leave(*raised: Any) -> None:
        await manager.__aexit__(*raised)

    stack.push_async_exit(leave)
    return value


async def _entered_aside(manager: AbstractContextManager[Any], stack: AsyncExitStack) -> Any:
    """Enter a context in a thread, and leave it in one, also if the run is cancelled meanwhile."""
    entering = asyncio.ensure_future(asyncio.to_thread(_caught, manager.__enter__))

    async def leave(*raised: Any) -> None:
        await asyncio.wait([entering])
        if entering.result().error is None:
            _value(await asyncio.to_thread(_caught, manager.__exit__, *raised))

    stack.push_async_exit(leave)
    return _value(await asyncio.shield(entering))


class _Caught(NamedTuple):
    """How a call in a thread ended; a future would choke on `StopIteration` and `SystemExit`."""

    value: Any = None
    error: BaseException | None = None


def _caught(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _Caught:
    try:
        return _Caught(call(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - carried to the guard around the run
        return _Caught(error=error)


def _value(caught: _Caught) -> Any:
    if caught.error is not None:
        raise caught.error
    return caught.value
