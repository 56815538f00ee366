"""Every page and every form against every role: what isn't in the table fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from tests.service.conftest import PASSWORD, Site
from tests.service.dashboard.browsing import Browser, Page, browser_of
from tests.service.routing import api_routes, words_of
from tickwork import Scheduler
from tickwork.service.app import create_app
from tickwork.service.roles import Role
from tickwork.service.settings import ServiceSettings

NOBODY = "nobody"
OPEN = "open"
"""Who needs not even be somebody."""

VIEWER, OPERATOR, ADMIN = Role
DONE = {200, 201, 303, 404, 409, 412, 422}
"""How somebody is answered who may, whether or not there is what they ask for."""


class Asked(NamedTuple):
    """The least role that may ask for something, and how it is asked for."""

    least: Role | str
    path: str
    form: dict[str, str] | None = None


STALE = {"etag": "another"}
TABLE = {
    "GET /": Asked(VIEWER, "/"),
    "GET /tasks": Asked(VIEWER, "/tasks"),
    "GET /tasks/{task_id}": Asked(VIEWER, "/tasks/close"),
    "POST /tasks/{task_id}/run": Asked(OPERATOR, "/tasks/close/run"),
    "GET /tasks/{task_id}/pause": Asked(OPERATOR, "/tasks/close/pause"),
    "POST /tasks/{task_id}/pause": Asked(OPERATOR, "/tasks/close/pause", STALE),
    "POST /tasks/{task_id}/resume": Asked(OPERATOR, "/tasks/close/resume", STALE),
    "GET /tasks/{task_id}/remove": Asked(ADMIN, "/tasks/close/remove"),
    "POST /tasks/{task_id}/remove": Asked(ADMIN, "/tasks/close/remove", STALE),
    "GET /tasks/{task_id}/edit": Asked(OPERATOR, "/tasks/close/edit"),
    "POST /tasks/{task_id}/edit": Asked(OPERATOR, "/tasks/close/edit", {"step": "preview"}),
    "GET /new-task": Asked(OPERATOR, "/new-task"),
    "POST /new-task": Asked(OPERATOR, "/new-task", {"function": "os:getcwd", "step": "save"}),
    "GET /bulk": Asked(OPERATOR, "/bulk?action=pause"),
    "POST /bulk": Asked(OPERATOR, "/bulk?action=pause", {"expected_count": "999"}),
    "GET /retry-runs": Asked(OPERATOR, "/retry-runs"),
    "POST /retry-runs": Asked(OPERATOR, "/retry-runs", {"expected_count": "999"}),
    "GET /prune-runs": Asked(ADMIN, "/prune-runs"),
    "POST /prune-runs": Asked(
        ADMIN, "/prune-runs?before=2020-01-01T00:00", {"expected_count": "999"}
    ),
    "GET /runs": Asked(VIEWER, "/runs"),
    "GET /runs/{run_id}": Asked(VIEWER, "/runs/none"),
    "GET /runs/{run_id}/follow": Asked(VIEWER, "/runs/none/follow"),
    "POST /runs/{run_id}/cancel": Asked(OPERATOR, "/runs/none/cancel"),
    "POST /runs/{run_id}/retry": Asked(OPERATOR, "/runs/none/retry"),
    "GET /nodes": Asked(VIEWER, "/nodes"),
    "GET /locks": Asked(VIEWER, "/locks"),
    "GET /audit": Asked(ADMIN, "/audit"),
    "GET /login": Asked(OPEN, "/login"),
    "POST /login": Asked(OPEN, "/login", {"name": "viewer", "password": PASSWORD}),
    "POST /logout": Asked(VIEWER, "/logout"),
    "GET /setup": Asked(OPEN, "/setup"),
    "POST /setup": Asked(NOBODY, "/setup", {"token": "x", "name": "x", "password": PASSWORD}),
    "POST /theme": Asked(OPEN, "/theme", {"theme": "dark"}),
    "GET /account": Asked(VIEWER, "/account"),
    "POST /account/password": Asked(VIEWER, "/account/password", {"old": PASSWORD, "new": "a"}),
    "POST /account/logout": Asked(VIEWER, "/account/logout"),
    "POST /account/tokens": Asked(VIEWER, "/account/tokens", {"name": "x", "role": "viewer"}),
    "POST /account/tokens/{token_id}/revoke": Asked(VIEWER, "/account/tokens/none/revoke"),
    "GET /users": Asked(ADMIN, "/users"),
    "POST /users": Asked(
        ADMIN, "/users", {"name": "viewer", "password": PASSWORD, "role": "viewer"}
    ),
    "POST /users/{name}": Asked(ADMIN, "/users/none", {"role": "viewer"}),
    "GET /users/{name}/remove": Asked(ADMIN, "/users/viewer/remove"),
    "POST /users/{name}/remove": Asked(ADMIN, "/users/none/remove"),
}
ROLES: list[Role | str] = [NOBODY, *Role]


def routes() -> list[str]:
    """Return all routes of the pages, as the router has them."""
    app = create_app(Scheduler("sqlite:///nobody.db"), ServiceSettings(auth="password"))
    [pages] = [route.app for route in app.routes if isinstance(route, Mount)]
    assert isinstance(pages, FastAPI)
    # Besides pages there are files, the same for all.
    assert [route.path for route in pages.routes if isinstance(route, Mount)] == ["/static"]
    return sorted(word for route in api_routes(pages.routes) for word in words_of(route))


@pytest.fixture(scope="module")
def visitor(guarded: Site) -> Callable[[Role | str], Browser]:
    """Return browsers in which somebody of a role is logged in."""
    known: dict[Role | str, Browser] = {}

    def find(role: Role | str) -> Browser:
        if role == NOBODY:
            return Browser(guarded.app)
        # Some routes end all sessions, or log in as somebody else.
        if role not in known or f"{role} {role} Log out" not in words_at(known[role], "/account"):
            known[role] = browser_of(guarded, role)
        return known[role]

    return find


def words_at(browser: Browser, path: str) -> str:
    return Page(browser.http.get(path).text).words


def ask(browser: Browser, method: str, asked: Asked) -> Any:
    if method == "GET":
        return browser.http.get(asked.path)
    form = dict(asked.form or {})
    if "tickwork_session" in browser.http.cookies:
        form["csrf"] = browser.get("/account").form("/logout").fields["csrf"]
    return browser.http.post(asked.path, data=form)


def may(role: Role | str, least: Role | str) -> bool:
    if least == OPEN:
        return True
    return isinstance(role, Role) and isinstance(least, Role) and role.rank >= least.rank


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", routes())
def test_each_page_lets_those_in_who_may(
    route: str, role: Role | str, visitor: Callable[[Role | str], Browser]
) -> None:
    asked = TABLE[route]
    method, _, path = route.partition(" ")
    answer = ask(visitor(role), method, asked)
    leads = answer.headers.get("location", "")
    if asked.least == NOBODY:
        # Takes a word of its own.
        assert answer.status_code == 401
    elif may(role, asked.least):
        assert answer.status_code in DONE, answer.text
        assert not leads.startswith("/login") or path in {"/setup", "/logout", "/account/logout"}
        assert "You may not do that" not in answer.text
    elif role == NOBODY:
        assert answer.status_code == 303
        assert leads == "/login" or leads.startswith("/login?next=")
    else:
        assert answer.status_code == 403
        assert "takes the role" in answer.text


def test_the_table_names_no_route_that_is_gone() -> None:
    assert set(TABLE) == set(routes())
