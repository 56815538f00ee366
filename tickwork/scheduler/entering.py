"""A scheduler as a context manager, of threads and of event loops."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Self

from tickwork.errors import SchedulerStateError
from tickwork.scheduler.facade import calling_loop, running_loop
from tickwork.scheduler.life import SchedulerLife
from tickwork.scheduler.offloading import begun, ended

__all__ = ["SchedulerEntering"]


class SchedulerEntering(SchedulerLife):
    """Is started by the first one who enters, and stopped by the last one who leaves."""

    def __enter__(self) -> Self:
        if not self._book.connected and running_loop() is not None:
            raise SchedulerStateError(
                "`with scheduler` would block the running event loop at its end; "
                "use `async with scheduler`"
            )
        return self._enter(calling_loop.get())

    def __exit__(self, *_: object) -> None:
        self._leave()

    async def __aenter__(self) -> Self:
        entering = begun(self._enter, asyncio.get_running_loop())
        cancelled = await ended(entering)
        if cancelled is None:
            return entering.result()
        if entering.exception() is None:
            await self.__aexit__()
        raise cancelled

    async def __aexit__(self, *_: object) -> None:
        hurried = threading.Event()
        leaving = begun(self._leave, hurried)
        cancelled = await ended(leaving, partial(self._hurry, hurried))
        leaving.result()
        if cancelled is not None:
            raise cancelled

    def _hurry(self, hurried: threading.Event) -> None:
        """Have a stop that has begun, or is about to, wait for nothing."""
        hurried.set()
        runtime = self._runtime
        if not self._entered and runtime is not None:
            runtime.hurry()

    def _enter(self, loop: asyncio.AbstractEventLoop | None) -> Self:
        """Start, unless it is started or connected already: the last one to leave stops it."""
        with self._lock:
            self._stay_in_process()
            if not self._book.connected:
                self._start(loop, paused=False)
            self._entered += 1
        return self

    def _leave(self, hurried: threading.Event | None = None) -> None:
        # Stopped under the lock: whoever enters meanwhile is to start it anew.
        with self._lock:
            self._entered = max(0, self._entered - 1)
            if not self._entered:
                if hurried is not None and hurried.is_set():
                    self._hurry(hurried)
                self.stop()
