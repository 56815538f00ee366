"""Every route against every role: what isn't in the table fails."""

from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import API, PASSWORD, Site
from tests.service.routing import api_routes, words_of
from tickwork import Scheduler
from tickwork.service.app import create_app
from tickwork.service.roles import LEAST_ROLE, Action, Role
from tickwork.service.settings import ServiceSettings

NOBODY = "nobody"
OPEN = "open"
"""Who needs not even be somebody."""


class Asked(NamedTuple):
    """The least role that may ask for something, and how it is asked for."""

    least: Role | str
    path: str
    body: Any = None
    stream: bool = False


BEFORE = {"before": "2020-01-01T00:00:00Z"}
TABLE = {
    "GET /health/live": Asked(OPEN, "/health/live"),
    "GET /health/ready": Asked(OPEN, "/health/ready"),
    "GET /metrics": Asked(Role.VIEWER, "/metrics"),
    "GET /tasks": Asked(Role.VIEWER, "/tasks"),
    "POST /tasks": Asked(Role.OPERATOR, "/tasks", {"function": "no.such:thing"}),
    "POST /tasks/bulk": Asked(Role.OPERATOR, "/tasks/bulk", {"action": "pause"}),
    "GET /tasks/{task_id}": Asked(Role.VIEWER, "/tasks/close"),
    "PATCH /tasks/{task_id}": Asked(Role.OPERATOR, "/tasks/close?dry_run=true", {"priority": 1}),
    "DELETE /tasks/{task_id}": Asked(Role.ADMIN, "/tasks/none"),
    "POST /tasks/{task_id}/reschedule": Asked(
        Role.OPERATOR, "/tasks/close/reschedule?dry_run=true", {"schedule": "5m"}
    ),
    "POST /tasks/{task_id}/pause": Asked(Role.OPERATOR, "/tasks/none/pause", {}),
    "POST /tasks/{task_id}/resume": Asked(Role.OPERATOR, "/tasks/none/resume"),
    "POST /tasks/{task_id}/run": Asked(Role.OPERATOR, "/tasks/none/run"),
    "GET /tasks/{task_id}/fires": Asked(Role.VIEWER, "/tasks/close/fires"),
    "POST /preview": Asked(Role.VIEWER, "/preview", {"schedule": "5m"}),
    "GET /functions": Asked(Role.VIEWER, "/functions"),
    "GET /runs": Asked(Role.VIEWER, "/runs"),
    "POST /runs/retry": Asked(Role.OPERATOR, "/runs/retry", {}),
    "POST /runs/prune": Asked(Role.ADMIN, "/runs/prune", BEFORE),
    "GET /runs/{run_id}": Asked(Role.VIEWER, "/runs/none"),
    "GET /runs/{run_id}/log": Asked(Role.VIEWER, "/runs/none/log"),
    "GET /runs/{run_id}/progress": Asked(Role.VIEWER, "/runs/none/progress"),
    "POST /runs/{run_id}/cancel": Asked(Role.OPERATOR, "/runs/none/cancel", {}),
    "POST /runs/{run_id}/retry": Asked(Role.OPERATOR, "/runs/none/retry"),
    "GET /nodes": Asked(Role.VIEWER, "/nodes"),
    "GET /stores": Asked(Role.VIEWER, "/stores"),
    "GET /executors": Asked(Role.VIEWER, "/executors"),
    "GET /locks": Asked(Role.VIEWER, "/locks"),
    "GET /events": Asked(Role.VIEWER, "/events?kind=x", stream=True),
    "GET /version": Asked(Role.VIEWER, "/version"),
    "POST /session": Asked(OPEN, "/session", {"name": "viewer", "password": PASSWORD}),
    "DELETE /session": Asked(Role.VIEWER, "/session"),
    "POST /setup": Asked(NOBODY, "/setup", {"token": "x", "name": "x", "password": PASSWORD}),
    "GET /me": Asked(Role.VIEWER, "/me"),
    "DELETE /me/sessions": Asked(Role.VIEWER, "/me/sessions"),
    "PUT /me/password": Asked(Role.VIEWER, "/me/password", {"old": PASSWORD, "new": "a" * 12}),
    "GET /tokens": Asked(Role.VIEWER, "/tokens"),
    "POST /tokens": Asked(Role.VIEWER, "/tokens", {"name": "x"}),
    "DELETE /tokens/{name}": Asked(Role.VIEWER, "/tokens/none"),
    "GET /users": Asked(Role.ADMIN, "/users"),
    "POST /users": Asked(
        Role.ADMIN, "/users", {"name": "viewer", "password": PASSWORD, "role": "viewer"}
    ),
    "PATCH /users/{name}": Asked(Role.ADMIN, "/users/none", {}),
    "DELETE /users/{name}": Asked(Role.ADMIN, "/users/none"),
    "GET /audit": Asked(Role.ADMIN, "/audit"),
}
ROLES: list[Role | str] = [NOBODY, *Role]


def routes() -> list[str]:
    app = create_app(Scheduler("sqlite:///nobody.db"), ServiceSettings(auth="password"))
    found = []
    for path, operations in app.openapi()["paths"].items():
        found += [f"{method.upper()} {path.removeprefix(API)}" for method in operations]
    shown = {word.replace(API, "") for route in api_routes(app.routes) for word in words_of(route)}
    assert shown == set(found)
    return sorted(found)


@pytest.fixture(scope="module")
def callers(guarded: Site) -> dict[Role | str, TestClient]:
    return {NOBODY: guarded.client(), **{role: guarded.with_token(role) for role in Role}}


def may(asker: Role | str, least: Role | str) -> bool:
    if least == OPEN:
        return True
    return isinstance(asker, Role) and isinstance(least, Role) and asker.rank >= least.rank


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", routes())
def test_each_route_lets_those_in_who_may(
    route: str, role: Role | str, callers: dict[Role | str, TestClient]
) -> None:
    asked = TABLE[route]
    method = route.partition(" ")[0]
    path = asked.path if asked.path.startswith(("/health", "/metrics")) else API + asked.path
    url = f"http://localhost{path}"
    if asked.stream and may(role, asked.least):
        # Endless; tests of their own follow it.
        url += "&nonsense=1"
    callers[role].cookies.clear()
    answer = callers[role].request(method, url, json=asked.body)
    if asked.least == NOBODY:
        # Takes a token of its own.
        assert answer.status_code == 401
    elif may(role, asked.least):
        if route == "POST /tasks":
            # They may, but not with this function.
            assert answer.json()["type"] == "urn:tickwork:error:function-not-allowed"
        else:
            assert answer.status_code in {200, 201, 202, 204, 404, 409, 422}, answer.text
    elif role == NOBODY:
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tickwork"'
    else:
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:tickwork:error:access-denied"


def test_the_table_names_no_route_that_is_gone() -> None:
    assert set(TABLE) == set(routes())


def test_each_action_has_its_least_role() -> None:
    assert set(LEAST_ROLE) == set(Action)
    assert [role for role in Role if role.may(Action.TASKS_REMOVE)] == [Role.ADMIN]
    assert [role for role in Role if role.may(Action.TASKS_PAUSE)] == [Role.OPERATOR, Role.ADMIN]
    assert all(role.may(Action.TASKS_LIST) for role in Role)
