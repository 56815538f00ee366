"""Pages out of templates: what all of them know, and the headers that all of them have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse
from starlette.types import Scope

from tickwork.model.instants import from_us
from tickwork.service.actors import Actor
from tickwork.service.dashboard import words
from tickwork.service.paths import in_path, restored
from tickwork.service.roles import Action
from tickwork.version import __version__

__all__ = ["HEADERS", "THEMES", "THEME_COOKIE", "Links", "address_of", "path_of", "render"]

THEME_COOKIE = "tickwork_theme"
THEMES = ("auto", "light", "dark")

_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def path_of(scope: Scope) -> str:
    """Return the path of a request, without the prefix under which it is served."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def address_of(scope: Scope) -> str:
    """Return the path of a request as it is written in an address."""
    return "/".join(in_path(restored(part)) for part in path_of(scope).split("/"))


class Links:
    """Addresses of pages, under whatever prefix they are served."""

    def __init__(self, base: str) -> None:
        self._base = base

    def __call__(self, path: str, **query: Any) -> str:
        """Return the address of a page; what is None or empty in a query isn't said."""
        said = {name: value for name, value in query.items() if value not in {None, ""}}
        return f"{self._base}{path}" + (f"?{urlencode(said, doseq=True)}" if said else "")

    def task(self, task_id: str, store: str = "default", then: str = "", **query: Any) -> str:
        """Return the address of a task's page, or of what comes behind it."""
        return self(f"/tasks/{in_path(task_id)}{then}", store=_unless_default(store), **query)

    def run(self, run_id: str, store: str = "default", then: str = "", **query: Any) -> str:
        """Return the address of a run's page, or of what comes behind it."""
        return self(f"/runs/{in_path(run_id)}{then}", store=_unless_default(store), **query)

    def static(self, path: str) -> str:
        """Return the address of a file; a new one with each version of ours."""
        return self(f"/static/{path}", v=__version__)


def _unless_default(store: str) -> str | None:
    return None if store == "default" else store


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("tickwork.service.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": words.moment,
        "iso": words.iso,
        "duration": words.duration,
        "number": words.number,
        "as_json": words.as_json,
        "plural": words.plural,
        "field_name": words.field_name,
        "by_hand": words.by_hand,
    }
    environment.globals |= {"words": words, "version": __version__, "Action": Action}
    return environment


def render(
    request: Request, template: str, *, status: int = 200, actor: Actor | None = None, **known: Any
) -> HTMLResponse:
    """Return a page for whom it is; without an actor, for anybody."""
    service = request.app.state.service
    now = from_us(service.reach.now_us())
    page = {
        "url": Links(request.scope.get("root_path", "")),
        "here": address_of(request.scope),
        "query": _query_of(request),
        "back": _back_to(request, status),
        "actor": actor,
        "may": _may(actor),
        "session_word": actor.csrf if actor else "",
        "auth": service.settings.auth == "password",
        "viewer": service.settings.viewer,
        "theme": _theme_of(request),
        "now": now,
        "ago": _ago(now),
        "held": request.query_params.get("hold") == "1",
        "said": words.SAID.get(request.query_params.get("said", "")),
    }
    text = _templates().get_template(template).render(page | known | {"status_code": status})
    return HTMLResponse(text, status, HEADERS)


def _query_of(request: Request) -> dict[str, str]:
    """Return what the address says; not what was just done, which isn't said again."""
    given = request.query_params.items()
    return {name: value for name, value in given if value and name != "said"}


def _back_to(request: Request, status: int) -> str:
    """Return where a form that stands on every page leads back to."""
    if request.method != "GET" or status >= 400:
        return "/"
    query = urlencode(_query_of(request))
    return address_of(request.scope) + (f"?{query}" if query else "")


def _theme_of(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else "auto"


def _may(actor: Actor | None) -> Any:
    def may(action: str) -> bool:
        return actor is not None and actor.role.may(Action(action))

    return may


def _ago(now: datetime) -> Any:
    def ago(moment: datetime | None) -> str:
        return words.relative(moment, now)

    return ago
