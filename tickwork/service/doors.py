"""What is refused before anybody asks who it is: other hosts' names, and other sites' pages.

A page somewhere in the web can have a browser send requests to this machine. With a name of its own
that leads here it could even read the answers, if just any name were answered. So, where nobody
logs in, the service answers to its own names only; and changes that a browser says another site
asks for are refused in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tickwork.service.errors import AccessDeniedError
from tickwork.service.rest.problems import problem_of, response_of

__all__ = ["Doors"]

_SAFE = {"GET", "HEAD", "OPTIONS"}
_OPEN = ("/health/",)


class Doors:
    """An application that refuses what can't be meant for it; `hosts` are its names, none: any."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                response = response_of(problem_of(AccessDeniedError(refusal)))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        host = _host_of(headers.get("host", ""))
        if self._hosts and host not in self._hosts and not path.startswith(_OPEN):
            return (
                f"this service isn't known as {host!r}; where nobody logs in it answers to names "
                "of this machine only. Set auth=password, or allowed_hosts"
            )
        if scope["method"] in _SAFE or "authorization" in headers:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in {"cross-site", "same-site"}:
            return "a page of another site asks for a change"
        if site is None and origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return f"a page of {origin} asks for a change"
        return None


def _host_of(host: str) -> str:
    """Return a host's name without its port."""
    if host.startswith("["):
        return host.partition("]")[0][1:].lower()
    return host.partition(":")[0].lower()
