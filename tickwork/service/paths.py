"""Slashes in the parts of a path.

Ids of tasks are whatever texts people chose. Servers hand on paths that are decoded already, where
a slash within an id can't be told from one between parts; so it travels as another character, one
that is none, until the id is taken out of the path.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["SlashesInParts", "in_path", "restored"]

_STAND_IN = "\ufdd0"


class SlashesInParts:
    """An application that understands `%2F` within a part of a path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and isinstance(raw, bytes) and b"%2f" in raw.lower():
            scope = {**scope, "path": _decoded(raw, scope)}
        await self._app(scope, receive, send)


def _decoded(raw: bytes, scope: MutableMapping[str, Any]) -> str:
    parts = raw.partition(b"?")[0].decode("ascii", "replace").split("/")
    path = "/".join(unquote(part).replace("/", _STAND_IN) for part in parts)
    prefix = scope.get("root_path", "")
    # Some servers leave the prefix, under which an application is mounted, out of the raw path.
    given: str = scope["path"]
    return path if given.startswith(prefix) and path.startswith(prefix) else prefix + path


def restored(part: str) -> str:
    """Return a part of a path as it was meant."""
    return part.replace(_STAND_IN, "/")


def in_path(text: str) -> str:
    """Return a text as a part of a path."""
    return quote(text, safe="")
