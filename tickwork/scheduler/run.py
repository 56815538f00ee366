"""Runs as users hold them: handles over what a store keeps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from tickwork.errors import SchedulerStateError, StoreUnavailableError, WaitTimeoutError
from tickwork.model.policies import TERMINAL
from tickwork.scheduler.facade import AsyncFacade

if TYPE_CHECKING:
    from datetime import datetime

    from tickwork.model.policies import RunState, Source
    from tickwork.model.snapshots import RunInfo
    from tickwork.scheduler.runs import SchedulerRuns

__all__ = ["Run"]


class Run:
    """A run that was asked for.

    What changes is read from the store each time, until the run is over. `await run` waits for its
    end without blocking, and gives what `wait` returns.
    """

    def __init__(
        self, scheduler: SchedulerRuns, run_id: str, task_id: str, store: str, *, name: str = ""
    ) -> None:
        self._scheduler = scheduler
        self.id = run_id
        self.task_id = task_id
        self.store = store
        self.name = name or task_id
        self._last: RunInfo | None = None

    def __repr__(self) -> str:
        return f"<Run {self.id!r} of {self.task_id!r}>"

    @property
    def aio(self) -> AsyncFacade:
        """The same methods, awaitable."""
        return _AsyncRun(self)

    def snapshot(self) -> RunInfo:
        """Return the run as it stands now.

        Raises:
            RunNotFoundError: it was forgotten, and nobody had looked at it since it was over.
        """
        if self._last is None:
            found = self._scheduler.get_run(self.id, store=self.store)
            if found.status not in TERMINAL:
                return found
            self._last = found
        return self._last

    @property
    def status(self) -> RunState:
        """Where the run stands now."""
        return self.snapshot().status

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self.status in TERMINAL

    @property
    def source(self) -> Source:
        """Why it exists."""
        return self.snapshot().source

    @property
    def attempt(self) -> int:
        """How often it was started; 0 before the first time."""
        return self.snapshot().attempt

    @property
    def created_at(self) -> datetime:
        """When it was asked for."""
        return self.snapshot().created_at

    @property
    def started_at(self) -> datetime | None:
        """When its last attempt began; known some moments later, and at the end."""
        return self.snapshot().started_at

    @property
    def completed_at(self) -> datetime | None:
        """When it was over."""
        return self.snapshot().completed_at

    @property
    def result(self) -> Any:
        """What its function returned; None until it has completed."""
        return self.snapshot().result

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it failed: type, message and traceback; code and details where it was a TaskError."""
        return self.snapshot().error

    @property
    def progress(self) -> dict[str, Any] | None:
        """What it last said of its progress."""
        return self.snapshot().progress

    def wait(self, timeout: float | None = None) -> RunInfo:
        """Wait until the run is over, wherever it is executed, and return how it stands then.

        Raises:
            WaitTimeoutError: it isn't over after `timeout` seconds; it goes on.
            SchedulerStateError: called on the event loop that may have to execute it.
        """
        self._refuse_on_loop()
        over = threading.Event()
        end = None if timeout is None else time.monotonic() + timeout
        self._scheduler._let_work()  # noqa: SLF001  its other half
        while True:
            # Once more if the look fails that was to tell what has become of it.
            over.clear()
            with self._scheduler._awaiting(self, over.set):  # noqa: SLF001  as above
                if self._is_over():
                    return self.snapshot()
                left_s = None if end is None else max(0.0, end - time.monotonic())
                if not over.wait(left_s):
                    raise self._not_over(timeout)

    def _not_over(self, timeout: float | None) -> WaitTimeoutError:
        return WaitTimeoutError(f"{self!r} isn't over after {timeout:g} s; it goes on")

    def _is_over(self) -> bool:
        """Whether the run is over, as far as its store can tell at the moment."""
        try:
            return self.done
        except StoreUnavailableError:
            return False

    def _refuse_on_loop(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise SchedulerStateError(
            "wait() would block this event loop, on which the run may have to be executed; use "
            "`await run` or `await run.aio.wait(timeout)`"
        )

    def __await__(self) -> Generator[Any, None, RunInfo]:
        return self._wait().__await__()

    async def _wait(self) -> RunInfo:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(over.set)

        await asyncio.to_thread(self._scheduler._let_work)  # noqa: SLF001  its other half
        while True:
            over.clear()
            with self._scheduler._awaiting(self, tell):  # noqa: SLF001  as above
                if await asyncio.to_thread(self._is_over):
                    return self.snapshot()
                await over.wait()

    def add_done_callback(self, callback: Callable[[Run], object]) -> None:
        """Have a function or coroutine function called with this run when it is over.

        It is called once, among the scheduler's listeners; soon, if the run is over already.
        """
        self._scheduler._call_when_over(self, callback)  # noqa: SLF001  its other half

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the run; see `Scheduler.cancel_run`."""
        return self._scheduler.cancel_run(self.id, reason=reason, store=self.store)

    def retry(self) -> Run:
        """Execute it again, as a new run; see `Scheduler.retry_run`."""
        return self._scheduler.retry_run(self.id, store=self.store)


class _AsyncRun(AsyncFacade):
    """The awaitable side of a run; waiting takes no thread."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._run = run

    async def wait(self, timeout: float | None = None) -> RunInfo:
        """Do `Run.wait`."""
        try:
            async with asyncio.timeout(timeout):
                return await self._run
        except TimeoutError:
            raise self._run._not_over(timeout) from None  # noqa: SLF001  its other half
