"""A scheduler around an ASGI application, of whatever framework.

The server speaks with the application as before, and we listen: when the application says that its
start-up is complete, the scheduler starts before the server hears of it, and when the server asks
for the shutdown, the scheduler stops before the application hears of that. What an application
leaves unsaid that knows no lifespans, we say.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from tickwork.errors import TickworkError

__all__ = ["ASGIApp", "WithScheduler"]

logger = logging.getLogger("tickwork.asgi")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Each framework has types of its own for the three; any will do.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class WithScheduler:
    """An application whose life is a scheduler's, too.

    The scheduler starts when the application's own start-up is complete, and stops before its
    shutdown. An application that knows no lifespan is served one. Where the scheduler can't start,
    the application is shut down and the server is told that the start-up has failed.
    """

    def __init__(self, app: ASGIApp, scheduler: AbstractAsyncContextManager[Any]) -> None:
        self.app = app
        self._scheduler = scheduler

    def __getattr__(self, name: str) -> Any:
        # What else the application is: its routes, its state. (A copy that is being made has none.)
        return getattr(vars(self).get("app"), name)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve the application."""
        if scope["type"] == "lifespan":
            await _Life(self.app, self._scheduler, receive, send).live(scope)
        else:
            await self.app(scope, receive, send)


class _Life:
    """One lifespan: what was said by both sides so far."""

    def __init__(
        self,
        app: ASGIApp,
        scheduler: AbstractAsyncContextManager[Any],
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._scheduler = scheduler
        self._receive = receive
        self._send = send
        self._asked = False
        self._answered = False
        self._entered = False
        self._unstarted: str | None = None
        self._unstopped: str | None = None
        self._refused = False

    async def live(self, scope: MutableMapping[str, Any]) -> None:
        """Serve the application its lifespan."""
        try:
            await self._converse(scope)
        finally:
            await self._leave()

    async def _converse(self, scope: MutableMapping[str, Any]) -> None:
        try:
            await self._app(scope, self._hear, self._say)
        except Exception as error:
            if self._answered:
                await self._refuse()
                raise
            # Not every application knows lifespans; that is how it says so. One that was asked to
            # start may mean something else by it, and servers would go on all the same.
            if self._asked:
                text = "the application raised when it was asked to start; serving it without"
                logger.warning(text, exc_info=error)
        await self._go_on_alone()

    async def _go_on_alone(self) -> None:
        """Say what an application leaves unsaid that knows no lifespans, or only their start."""
        if not self._asked:
            await self._receive()
        if not self._answered:
            await self._say({"type": "lifespan.startup.complete"})
        await self._refuse()
        if self._entered:
            await self._hear()
            await self._say({"type": "lifespan.shutdown.complete"})

    async def _hear(self) -> Message:
        """Tell the application what the server says; of the end, when the scheduler has stopped."""
        if self._unstarted is not None and not self._refused:
            return {"type": "lifespan.shutdown"}
        message = await self._receive()
        self._asked = True
        if message["type"] == "lifespan.shutdown":
            await self._stop()
        return message

    async def _say(self, message: Message) -> None:
        """Tell the server what the application says; of its start, once the scheduler has."""
        self._answered = True
        if self._unstarted is not None:
            # That was its last word. (Told earlier, servers would end without waiting for it.)
            await self._refuse()
            return
        if message["type"] == "lifespan.startup.complete" and not self._entered:
            if not await self._start():
                return
        elif message["type"] == "lifespan.shutdown.complete" and self._unstopped is not None:
            message = {"type": "lifespan.shutdown.failed", "message": self._unstopped}
        await self._send(message)

    async def _refuse(self) -> None:
        """Tell the server, once, that there is no scheduler, if that is so."""
        if self._unstarted is not None and not self._refused:
            self._refused = True
            await self._send({"type": "lifespan.startup.failed", "message": self._unstarted})

    async def _start(self) -> bool:
        try:
            await self._scheduler.__aenter__()
        except Exception as error:  # noqa: BLE001  told to the server, which tells its operator
            self._unstarted = f"the scheduler could not start: {_told(error)}"
        else:
            self._entered = True
        return self._entered

    async def _stop(self) -> None:
        try:
            await self._leave()
        except Exception as error:  # noqa: BLE001  as above; the application is to end properly
            self._unstopped = f"the scheduler could not stop: {_told(error)}"

    async def _leave(self) -> None:
        if self._entered:
            self._entered = False
            await self._scheduler.__aexit__(None, None, None)


def _told(error: Exception) -> str:
    """Return an error in words: ours say all there is to say, others where they are from."""
    if isinstance(error, TickworkError | OSError):
        return f"{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error)).rstrip()
