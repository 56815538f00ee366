"""Tasks with a beginning and an end: generator functions that are advanced fire time by fire time.

What stands before the first `yield` sets up, each fire time sends True, and when the scheduler
stops, False is sent: the generator leaves its loop and cleans up. With a leader or a lock, only one
process is set up at a time; one that leads no more cleans up at once.

From start to stop a lifecycle has a session of its own, so that what a former one left behind (a
tick in a thread that nobody can end) doesn't touch the next. What happens is written once, as
coroutines; for plain generators they never wait for anything, and are run through at once.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from tickwork.errors import ConflictError, InvalidInputError, TaskConfigurationError
from tickwork.model.callables import is_coroutine_callable, name_of, unwrapped_partial
from tickwork.model.signatures import check_signature
from tickwork.scheduler.gates import read_gate
from tickwork.wiring import every

if TYPE_CHECKING:
    from tickwork.coordination import FileLockProtected, LeaderElection

__all__ = ["Lifecycle", "SharedLock", "check_lifecycle", "lifecycle_options", "make_function"]

logger = logging.getLogger("tickwork.lifecycle")


_NOWHERE = "<locals>."
"""What the names of functions begin with that nobody finds by their name."""


class Lifecycle:
    """A generator function of this process, and the generator of it that is set up.

    `tick` advances it by one where it may be set up here, `keep` sets up or cleans up, whichever is
    in order now, and so does `clean_up`; each returns why it isn't set up, or None. They are
    coroutine functions where the generator is async. `begin`, `stop` and `end` are for the
    scheduler; it is `removed` when its task is.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        name: str,
        *,
        leader: LeaderElection | None = None,
        lock: SharedLock | None = None,
    ) -> None:
        self.name = name
        self.leader = leader
        self.executor = self.run_id = ""
        self.removed = False
        self.is_async = is_async_lifecycle(function)
        self._function = function
        self._lock = lock
        self._stopped = True
        self._session = self._new_session()
        self._parents: _Session | None = None
        self.tick = self._public(self._tick)
        self.keep = self._public(self._keep)
        # One that was meant for an earlier stop, and is taken over, must end nothing now.
        self.clean_up = self._public(self._keep)

    def __repr__(self) -> str:
        return f"<Lifecycle {self.name!r}>"

    def _new_session(self) -> _Session:
        advancing: AbstractAsyncContextManager[None] = (
            asyncio.Lock() if self.is_async else _ThreadLock()
        )
        return _Session(self._function, advancing)

    def _public(self, method: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
        """Return a method as it is called: without a loop where the generator needs none."""

        async def on_loop() -> Any:
            return await method()

        def plainly() -> Any:
            return _run_through(method())

        call: Callable[[], Any] = on_loop if self.is_async else plainly
        # In lists and logs, its task is that of the generator function.
        call.__module__ = getattr(unwrapped_partial(self._function)[0], "__module__", __name__)
        call.__name__ = name_of(self._function)
        call.__qualname__ = f"{_NOWHERE}{call.__name__}"
        return call

    # --- for the scheduler --------------------------------------------------------------------

    def choose_executor(
        self, said: str | None, usual: Iterable[str | None], kinds: Mapping[str, str]
    ) -> None:
        """Choose who executes it, of executors by name and kind: one in whose place it can live.

        Raises:
            TaskConfigurationError: the one that was said, or any there is, can't.
        """
        wanted = "asyncio" if self.is_async else "threadpool"
        if said is not None:
            if self.is_async and kinds.get(said, wanted) != wanted:
                raise TaskConfigurationError(
                    f"executor={said!r}: an async lifecycle lives on an event loop; leave it out, "
                    "or name an executor of the kind 'asyncio'"
                )
            self.executor = said
            return
        names = [*usual, wanted, *kinds]
        found = next((name for name in names if name and kinds.get(name) == wanted), None)
        if found is None:
            raise TaskConfigurationError(
                f"{self.name} needs an executor of the kind {wanted!r}; this scheduler has "
                f"{', '.join(sorted(kinds))}"
            )
        self.executor = found

    @property
    def stopped(self) -> bool:
        """Whether it is to be set up no more, until its scheduler starts again."""
        return self._stopped

    def begin(self) -> None:
        """Let it be set up, anew whatever was before."""
        self._session = self._new_session()
        self._stopped = False

    def stop(self) -> None:
        """Let it be set up no more."""
        self._stopped = True

    def end(self) -> None:
        """See to it that it ends, where nobody waits for that any more."""
        session = self._session
        if session.generator is None:
            return
        if session.loop is None:
            threading.Thread(
                target=lambda: _run_through(self._end_late(session)),
                name="tickwork-clean-up",
                daemon=True,
            ).start()
        elif session.loop.is_running():
            asyncio.run_coroutine_threadsafe(self._end_late(session), session.loop)
        else:
            # A loop that is over has closed its generators.
            self._let_go(session)

    def forsake(self) -> None:
        """Leave a forked child without what its parent has set up."""
        # Kept: a generator that goes would clean up what is the parent's.
        self._parents = self._session
        self._session = self._new_session()
        self._stopped = True
        if self._lock is not None:
            self._lock.forsake()

    # --- what happens -------------------------------------------------------------------------

    async def _tick(self) -> str | None:
        session = self._session
        async with session.advancing:
            refusal = await self._kept(session)
            if refusal is None:
                await self._send(session, True)
            return refusal

    async def _keep(self) -> str | None:
        session = self._session
        async with session.advancing:
            return await self._kept(session)

    async def _end_late(self, session: _Session) -> None:
        try:
            async with session.advancing:
                await self._end(session)
        except BaseException:
            # The top of its thread; it is the user's code.
            logger.exception("lifecycle %s: its clean-up failed", self.name)

    async def _kept(self, session: _Session) -> str | None:
        refusal = self._refusal(session)
        if refusal is not None:
            await self._end(session)
        elif session.generator is None:
            await self._send(session, None)
        return refusal

    def _refusal(self, session: _Session) -> str | None:
        """Return why it may not be set up here; None where it may."""
        if self.removed:
            return "its task was removed"
        if self._stopped or session is not self._session:
            return "its scheduler stops"
        if self.leader is not None and not self.leader.is_leader:
            return f"this process isn't the leader of {self.leader.name!r}"
        if self._lock is None or self._lock.take(session):
            return None
        return f"another process has the lock {self._lock.path}"

    async def _send(self, session: _Session, value: bool | None) -> None:  # noqa: FBT001  what is sent
        """Set it up, or advance it by one; what is at its end lets go of its lock."""
        try:
            if value is None:
                session.begin()
            await session.advance(value)
        finally:
            if session.generator is None:
                self._let_go(session)

    async def _end(self, session: _Session) -> None:
        try:
            if session.generator is not None:
                await session.advance(False)
            if session.generator is not None:
                logger.warning(
                    "lifecycle %s yielded again after it was sent False, and is closed", self.name
                )
                await session.close()
        finally:
            self._let_go(session)

    def _let_go(self, session: _Session) -> None:
        session.generator = None
        if self._lock is not None:
            self._lock.give_back(session)


class _ThreadLock(AbstractAsyncContextManager[None]):
    """A lock of threads, in the form of those of coroutines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class _Session:
    """One generator after the other, between a start and a stop."""

    def __init__(
        self, function: Callable[[], Any], advancing: AbstractAsyncContextManager[None]
    ) -> None:
        self.advancing = advancing
        self.generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where the generator lives that is set up, if it is async."""
        self._function = function

    def begin(self) -> None:
        self.generator = self._function()
        if isinstance(self.generator, AsyncGenerator):
            self.loop = asyncio.get_running_loop()

    async def advance(self, value: bool | None) -> None:  # noqa: FBT001  what is sent
        """Send a value; a generator that is at its end afterwards is gone."""
        generator = self.generator
        try:
            if isinstance(generator, AsyncGenerator):
                await generator.asend(value)
            elif generator is not None:
                generator.send(value)
        except (StopIteration, StopAsyncIteration):
            self.generator = self.loop = None
        except BaseException:
            self.generator = self.loop = None
            raise

    async def close(self) -> None:
        generator, self.generator, self.loop = self.generator, None, None
        if isinstance(generator, AsyncGenerator):
            await generator.aclose()
        elif generator is not None:
            generator.close()


class SharedLock:
    """A lock on a file as the lifecycles of one scheduler share it: all that name it, or none."""

    def __init__(self, lock: FileLockProtected) -> None:
        self._file = lock
        self._sharing: set[object] = set()
        self._mutex = threading.Lock()

    @property
    def path(self) -> str:
        """Where the file is."""
        return str(self._file.path)

    def take(self, who: object) -> bool:
        """Take it for one more; False where another process, or another scheduler, has it.

        Raises:
            OSError: the file can't be opened.
        """
        with self._mutex:
            if not self._sharing and not self._taken():
                return False
            self._sharing.add(who)
            return True

    def _taken(self) -> bool:
        with suppress(ConflictError):
            return self._file.acquire(blocking=False)
        return False

    def give_back(self, who: object) -> None:
        """Let go of it for one; the last one gives it back."""
        with self._mutex:
            if who in self._sharing:
                self._sharing.discard(who)
                if not self._sharing:
                    self._file.release()

    def forsake(self) -> None:
        """Begin anew in a forked child, which doesn't have what its parent has."""
        self._mutex = threading.Lock()
        self._sharing.clear()
        self._file.forsake()


def is_async_lifecycle(function: Callable[..., Any]) -> bool:
    """Whether a generator function is an async one."""
    return inspect.isasyncgenfunction(function)


def lifecycle_options(own: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a lifecycle: its own, and what of its routers' makes sense for it.

    Raises:
        TaskConfigurationError: an option that it can't have.
    """
    for name in ("store", "scope"):
        if name in own:
            raise TaskConfigurationError(f"a lifecycle lives in its process; leave {name}= out")
    for name in ("args", "kwargs"):
        if name in own:
            raise TaskConfigurationError(
                f"a lifecycle is made without arguments; leave {name}= out, and decorate "
                "functools.partial(...) of the function"
            )
    options = {**inherited, **own}
    useless = {"store", "scope", "executor"}
    if options.get("leader") is not None:
        read_gate({"leader": options["leader"]}, every(1, {}))
        # It leads or not, for as long as it does: there is nothing to be locked for each run.
        useless |= {"max_lock_seconds", "min_lock_seconds"}
    return {name: value for name, value in options.items() if name in own or name not in useless}


def check_lifecycle(function: Any) -> None:
    """Refuse what can't be a lifecycle.

    Raises:
        TaskConfigurationError: it is no generator function, or one that needs arguments.
    """
    if not (inspect.isgeneratorfunction(function) or is_async_lifecycle(function)):
        name = name_of(function) if callable(function) else repr(function)
        raise TaskConfigurationError(
            f"{name} is no generator function: a lifecycle sets up, then says `running = yield` "
            "again and again while running, then cleans up"
        )
    try:
        check_signature(function, (), {})
    except InvalidInputError as error:
        raise TaskConfigurationError(
            f"{name_of(function)} needs arguments, and a lifecycle is made without any; give them "
            "defaults, or pass functools.partial(...) of it"
        ) from error


def _run_through(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a plain generator has nothing to wait for")


def make_function(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that calls `call`, such as the `send` of a generator.

    That the generator is at its end then is no error: the function returns what it returned. The
    function of an async generator's `asend` is a coroutine function.

    Raises:
        TaskConfigurationError: it can't be called.
    """
    if not callable(call):
        raise TaskConfigurationError(f"{call!r} can't be called; pass generator.send")
    inner = unwrapped_partial(call)[0]
    owner = getattr(inner, "__self__", None)
    is_async = inspect.isasyncgen(owner) or is_coroutine_callable(call)
    made = (_awaiting if is_async else _calling)(call)
    made.__name__ = _name_of_call(inner, owner)
    made.__qualname__ = f"{_NOWHERE}{made.__name__}"
    made.__module__ = _module_of(inner, owner)
    return made


def _name_of_call(call: Callable[..., Any], owner: object) -> str:
    if inspect.isgenerator(owner) or inspect.isasyncgen(owner):
        return f"{owner.__name__}.{getattr(call, '__name__', 'send')}"
    return name_of(call)


def _module_of(call: Callable[..., Any], owner: object) -> str:
    frame = getattr(owner, "gi_frame", None) or getattr(owner, "ag_frame", None)
    if isinstance(frame, FrameType):
        return str(frame.f_globals.get("__name__", __name__))
    return getattr(call, "__module__", None) or __name__


def _calling(call: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except StopIteration as end:
            return end.value

    return function


def _awaiting(call: Callable[..., Any]) -> Callable[..., Any]:
    async def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call(*args, **kwargs)
        except StopAsyncIteration:
            return None

    return function
