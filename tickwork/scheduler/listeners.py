"""Listeners: functions and coroutine functions that are told what happens.

They are called one after the other in a thread of their own, in the order of the events, so that
neither a slow nor a failing one holds up the scheduler.
"""

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tickwork.errors import InvalidInputError
from tickwork.model.events import Event
from tickwork.scheduler.guard import guarded

__all__ = ["Listeners"]

logger = logging.getLogger("tickwork.listeners")

Listener = Callable[[Any], Any]


class _Call(NamedTuple):
    """A listener that is to be called once."""

    listener: Listener
    subject: object


class Listeners:
    """Who wants to be told of which events."""

    def __init__(self) -> None:
        self._listeners: list[tuple[type[Event], Listener]] = []
        self._wanted: dict[type[Event], bool] = {}
        self._queue: queue.SimpleQueue[Event | threading.Event | _Call] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None

    def add(self, event: object, listener: Listener) -> None:
        """Tell `listener` of each event of a class, or of one derived from it."""
        if not (inspect.isclass(event) and issubclass(event, Event)):
            raise InvalidInputError(
                f"{event!r} is not a kind of event; use a class of tickwork.events, such as "
                "RunFailed, or Event for all of them"
            )
        if not callable(listener):
            raise InvalidInputError(f"{listener!r} can't be called; pass a function")
        with self._lock:
            self._listeners = [*self._listeners, (event, listener)]
            self._wanted = {}

    def remove(self, event: type[Event], listener: Listener) -> None:
        """Stop telling a listener; nothing happens where it isn't told."""
        with self._lock:
            self._listeners = [each for each in self._listeners if each != (event, listener)]
            self._wanted = {}

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody wants to be told of a kind of event."""
        if not self._listeners:
            return False
        known = self._wanted.get(kind)
        if known is None:
            known = any(issubclass(kind, event) for event, _ in self._listeners)
            self._wanted[kind] = known
        return known

    def tell(self, event: Event) -> None:
        """Tell the listeners soon; returns at once."""
        if not self.wants(type(event)):
            return
        self._put(event)

    def call(self, listener: Listener, subject: object) -> None:
        """Call something once, soon, as a listener; returns at once."""
        self._put(_Call(listener, subject))

    def _put(self, item: "Event | _Call") -> None:
        self._queue.put(item)
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything told so far has been heard; False if that takes too long."""
        if self._thread is None or self._thread is threading.current_thread():
            return True
        heard = threading.Event()
        self._queue.put(heard)
        return heard.wait(timeout_s)

    def failed(self, what: str, error: BaseException) -> None:
        """Log that something could not be done while nobody waits for an answer."""
        logger.error("%s failed: %s", what, error)

    def forsake(self) -> None:
        """Forget the thread, which stayed behind in the parent of this process."""
        self._thread = None
        self._queue = queue.SimpleQueue()
        self._lock = threading.Lock()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._listen, name="tickwork-listeners", daemon=True
                )
                self._thread.start()

    def _listen(self) -> None:
        while True:
            event = self._queue.get()
            if isinstance(event, threading.Event):
                event.set()
                continue
            if isinstance(event, _Call):
                self._call(event.listener, event.subject)
                continue
            for kind, listener in self._listeners:
                if isinstance(event, kind):
                    self._call(listener, event)

    def _call(self, listener: Listener, event: object) -> None:
        heard = guarded(lambda: self._hear(listener, event))
        if heard.error is not None:
            logger.error(
                "listener %r failed on %s: %s",
                listener,
                type(event).__name__,
                heard.error,
                exc_info=heard.error,
            )

    def _hear(self, listener: Listener, event: object) -> None:
        answer = listener(event)
        if not inspect.isawaitable(answer):
            return

        async def awaited() -> None:
            await answer

        if self.loop is not None and self.loop.is_running():
            asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(timeout=60)
        else:
            asyncio.run(awaited())
