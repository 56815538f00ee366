"""A bound to what a request may bring along, before anybody keeps it in memory.

The length that a request says is believed when it is too much, and counted in any case: bodies that
come in chunks say none. Of what is too much by a little, the rest is read and thrown away: who is
still sending doesn't read an answer.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit"]

_SAFE = {"GET", "HEAD", "OPTIONS"}
_DRAINED = 8
"""How many times the bound is read and thrown away."""


class BodyLimit:
    """An application that takes bodies of so many bytes; larger ones are answered with 413."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        # Nobody reads a body of those that only look.
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            receive = _Counted(receive, self._most, _length_of(scope))
        await self._app(scope, receive, send)


class _Counted:
    """What a request brings, until it is too much."""

    def __init__(self, receive: Receive, most: int, length: int) -> None:
        self._receive = receive
        self._most = most
        self._length = length
        self._seen = 0

    async def __call__(self) -> Message:
        """Return the next part.

        Raises:
            HTTPException: it is too much, whatever else comes.
        """
        if self._length > self._most * _DRAINED:
            raise self._refusal()
        message = await self._receive()
        self._count(message)
        if self._length > self._most or self._seen > self._most:
            await self._drain(message)
            raise self._refusal()
        return message

    def _count(self, message: Message) -> None:
        self._seen += len(message.get("body", b""))

    async def _drain(self, message: Message) -> None:
        while message.get("more_body", False) and self._seen <= self._most * _DRAINED:
            message = await self._receive()
            self._count(message)

    def _refusal(self) -> HTTPException:
        return HTTPException(
            413,
            f"the request has more than {self._most} bytes; send less at a time, or raise the "
            "setting max_body",
        )


def _length_of(scope: Scope) -> int:
    said = Headers(scope=scope).get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0
