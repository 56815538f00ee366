"""The server's side of a lifespan, in a diary together with all else that happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from tickwork.scheduler.asgi import ASGIApp

__all__ = ["ALL_IS_WELL", "Application", "Noted", "Server", "converse", "served", "started"]

ALL_IS_WELL = [
    "server says startup",
    "application starts",
    "scheduler starts",
    "server hears startup.complete",
    "server says shutdown",
    "scheduler stops",
    "application stops",
    "server hears shutdown.complete",
]
"""The order of what happens in a lifespan in which nothing goes wrong."""

_DEADLINE_S = 20.0


class Noted:
    """What stands for a scheduler; writes down when it is entered and left, and may fail."""

    def __init__(
        self,
        diary: list[str],
        *,
        start: Exception | None = None,
        stop: Exception | None = None,
    ) -> None:
        self._diary = diary
        self._errors = start, stop
        self.entered = 0

    async def __aenter__(self) -> Self:
        if self._errors[0] is not None:
            self._diary.append("scheduler fails to start")
            raise self._errors[0]
        self._diary.append("scheduler starts")
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1
        if self._errors[1] is not None:
            self._diary.append("scheduler fails to stop")
            raise self._errors[1]
        self._diary.append("scheduler stops")


class Application:
    """An application without any framework that knows lifespans."""

    def __init__(self, diary: list[str], *, shutdown: str = "shutdown.complete") -> None:
        self._diary = diary
        self._shutdown = shutdown

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert await receive() == {"type": "lifespan.startup"}
        self._diary.append("application starts")
        await send({"type": "lifespan.startup.complete"})
        assert await receive() == {"type": "lifespan.shutdown"}
        self._diary.append("application stops")
        await send({"type": f"lifespan.{self._shutdown}"})


class Server:
    """A server that says what it is told to say, and waits for an answer with a deadline."""

    def __init__(self, app: ASGIApp, diary: list[str]) -> None:
        self.messages: list[dict[str, Any]] = []
        self._diary = diary
        self._words: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard = asyncio.Event()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.lifespan = asyncio.ensure_future(app(scope, self._words.get, self._hear))

    async def _hear(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._diary.append(f"server hears {message['type'].removeprefix('lifespan.')}")
        self._heard.set()

    async def say(self, word: str) -> None:
        """Say something; return when there is an answer, or the application has returned."""
        self._heard.clear()
        self._diary.append(f"server says {word}")
        self._words.put_nowait({"type": f"lifespan.{word}"})
        heard = asyncio.ensure_future(self._heard.wait())
        waits: list[asyncio.Future[Any]] = [heard, self.lifespan]
        done, _ = await asyncio.wait(
            waits, timeout=_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
        )
        heard.cancel()
        assert done, self._diary

    async def ended(self) -> None:
        """Wait until the application has returned, or raise what it raised."""
        async with asyncio.timeout(_DEADLINE_S):
            await self.lifespan


@asynccontextmanager
async def served(app: ASGIApp, diary: list[str]) -> AsyncIterator[Server]:
    """Serve an application for the time of a block."""
    server = Server(app, diary)
    await server.say("startup")
    yield server
    await server.say("shutdown")
    await server.ended()


def converse(app: ASGIApp, diary: list[str]) -> list[dict[str, Any]]:
    """Serve an application from start to end; return what it said."""

    async def main() -> list[dict[str, Any]]:
        async with served(app, diary) as server:
            pass
        return server.messages

    return asyncio.run(main())


def started(app: ASGIApp, diary: list[str]) -> list[dict[str, Any]]:
    """Ask an application only to start, as servers do when it then can't; return what it said."""

    async def main() -> list[dict[str, Any]]:
        server = Server(app, diary)
        await server.say("startup")
        await server.ended()
        return server.messages

    return asyncio.run(main())
