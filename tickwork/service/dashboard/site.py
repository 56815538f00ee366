"""The pages as an application of their own, which stands behind all other routes.

It answers whatever the service's other routes don't know, and answers errors by pages.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tickwork.errors import TickworkError
from tickwork.service.actors import Actor, Via
from tickwork.service.dashboard import (
    access,
    bulk,
    cluster,
    creating,
    editing,
    following,
    overview,
    pruning,
    runs,
    task,
    tasks,
)
from tickwork.service.dashboard.rendering import HEADERS, address_of, path_of, render
from tickwork.service.errors import TooManyAttemptsError, UnauthenticatedError
from tickwork.service.rest.problems import status_of

if TYPE_CHECKING:
    from tickwork.service.hosting import Service

__all__ = ["add_dashboard"]

logger = logging.getLogger("tickwork.service")

_MODULES = (
    overview,
    tasks,
    task,
    editing,
    creating,
    bulk,
    pruning,
    runs,
    following,
    cluster,
    access,
)
_OTHERS = ("/api/", "/health/", "/metrics")
_TITLES = {
    403: "You may not do that",
    404: "There is nothing here",
    405: "That can't be done here",
    409: "Something else happened meanwhile",
    412: "Somebody else changed this",
    413: "That is too much at once",
    422: "That can't be understood",
    429: "Too many attempts",
    503: "The store doesn't answer",
}
_ADVICE = {
    403: "Ask an admin for the role that this takes, or log in as somebody else.",
    404: "It may have been removed or pruned, or the address has a slip of the pen in it.",
    405: "This address only takes what a form on another page sends.",
    409: "Go back, look at it as it is now, and decide again.",
    412: "Go back, look at it as it is now, and decide again.",
    413: "Go back, and send less. Nothing was changed.",
    422: "Go back, correct it, and try again. Nothing was changed.",
    429: "Wait, then try again.",
    503: "Nothing is lost: due tasks run late rather than never. Try again in a moment.",
}


class _Pages(Mount):
    """Everything that isn't spoken by programs."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether a request is for a page."""
        if path_of(scope).startswith(_OTHERS):
            return Match.NONE, {}
        return super().matches(scope)


class _Static(StaticFiles):
    """Files of ours, with the headers that pages have."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file; browsers ask again whether it is still the same."""
        response = await super().get_response(path, scope)
        response.headers.update({**HEADERS, "Cache-Control": "no-cache"})
        return response


def add_dashboard(app: FastAPI) -> None:
    """Have an application with a service also answer with pages."""
    app.router.routes.append(_Pages("", app=_pages_of(app.state.service)))


def _pages_of(service: Service) -> FastAPI:
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    pages.state.service = service
    for module in _MODULES:
        pages.include_router(module.router)
    pages.mount("/static", _Static(directory=Path(__file__).with_name("static")))
    pages.add_exception_handler(UnauthenticatedError, _send_to_login)
    pages.add_exception_handler(TickworkError, _show_error)
    pages.add_exception_handler(RequestValidationError, _show_invalid)
    pages.add_exception_handler(HTTPException, _show_http)
    pages.add_exception_handler(Exception, _show_unexpected)
    return pages


def _send_to_login(request: Request, _: Exception) -> Response:
    """Have somebody log in, and come back to where they wanted to go."""
    base = request.scope.get("root_path", "")
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={**HEADERS, "HX-Refresh": "true"})
    if not request.app.state.service.accounts.has_users():
        return RedirectResponse(f"{base}/setup", 303, HEADERS)
    wanted = address_of(request.scope) if request.method == "GET" else "/"
    query = f"?{request.url.query}" if request.method == "GET" and request.url.query else ""
    asked = "" if wanted in {"/", ""} else f"?{urlencode({'next': wanted + query})}"
    return RedirectResponse(f"{base}/login{asked}", 303, HEADERS)


def _show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TickworkError)  # noqa: S101  registered for no other
    status = status_of(error)
    response = _error_page(request, status, str(error))
    if isinstance(error, TooManyAttemptsError):
        response.headers["Retry-After"] = str(error.wait_s)
    if status >= 500:
        logger.warning("%s: %s", request.url.path, error)
    return response


def _show_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for no other
    told = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return _error_page(request, 422, told)


def _show_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for no other
    # Of others it only says in other words what the title says.
    detail = error.detail if error.status_code == 413 else ""
    response = _error_page(request, error.status_code, detail)
    response.headers.update(error.headers or {})
    return response


def _show_unexpected(request: Request, _: Exception) -> Response:
    return _error_page(request, 500, "")


def _error_page(request: Request, status: int, detail: str) -> Response:
    title = _TITLES.get(status, "Something went wrong")
    advice = _ADVICE.get(status, "The service's log says what happened. Try again in a moment.")
    return render(request, "error.html", status=status, actor=_who(request, status), title=title,
                  detail=detail, advice=advice)  # fmt: skip


def _who(request: Request, status: int) -> Actor | None:
    """Return for whom an error is shown, so that they can go on; nobody where the store is away."""
    try:
        return None if status >= 500 else request.app.state.service.actor(request, Via.UI)
    except TickworkError:
        return None
