"""What the routes have in common: who is asking, and the parts of paths and queries."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from pydantic import AfterValidator, Field

from tickwork.service.actors import Via
from tickwork.service.hosting import COOKIE, CSRF_HEADER, Service, check_csrf, service_of
from tickwork.service.models import MOST_ITEMS, Asked, RunFilter, Sort, TaskFilter, Text
from tickwork.service.operations import Operations
from tickwork.service.paths import restored

__all__ = [
    "DryRun",
    "Name",
    "OperationsDep",
    "PageQuery",
    "RunId",
    "RunListQuery",
    "ServiceDep",
    "TaskId",
    "TaskListQuery",
    "Where",
    "filters_of",
    "run_filters_of",
]

_bearer = HTTPBearer(auto_error=False, description="a token, as `POST /api/v1/tokens` makes it")
_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description="a session, as `POST /api/v1/session` begins it; changes need "
    f"`{CSRF_HEADER}` as well",
)


def get_service(request: Request) -> Service:
    """Return what the application shows."""
    return service_of(request)


ServiceDep = Annotated[Service, Depends(get_service)]


def get_operations(
    request: Request,
    service: ServiceDep,
    _token: Annotated[Any, Depends(_bearer)],
    _session: Annotated[Any, Depends(_cookie)],
) -> Operations:
    """Return what whoever is asking can do.

    Raises:
        UnauthenticatedError: nobody knows who it is.
        AccessDeniedError: a browser asks for a change without the word of its session.
    """
    actor = service.actor(request, Via.REST)
    check_csrf(actor, request.method, request.headers.get(CSRF_HEADER))
    return service.operations(actor)


OperationsDep = Annotated[Operations, Depends(get_operations)]

TaskId = Annotated[
    str,
    Path(min_length=1, max_length=191, description="of the task, percent-encoded"),
    AfterValidator(restored),
]
RunId = Annotated[str, Path(min_length=1, max_length=191), AfterValidator(restored)]
Name = Annotated[str, Path(min_length=1, max_length=191), AfterValidator(restored)]
Cursor = Annotated[str, Field(min_length=1, max_length=2_000)]


class Where(Asked):
    """In which store; without it, in whichever has it."""

    store: Text | None = None


class DryRun(Where):
    """In which store, and whether only to say what would be."""

    dry_run: bool = False


class PageQuery(Asked):
    """Which part of a list: `limit` items behind those of the page that gave the cursor."""

    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] = 100
    cursor: Cursor | None = None


class TaskListQuery(TaskFilter, PageQuery):
    """Which tasks to list, in which order; `total` counts all of them."""

    sort: Sort = "id"
    total: bool = False


class RunListQuery(RunFilter, PageQuery):
    """Which runs to list; `total` counts all of them."""

    total: bool = False


def filters_of(query: TaskListQuery) -> TaskFilter:
    """Return the conditions of a query for tasks."""
    return TaskFilter(**{name: getattr(query, name) for name in TaskFilter.model_fields})


def run_filters_of(query: RunListQuery) -> RunFilter:
    """Return the conditions of a query for runs."""
    return RunFilter(**{name: getattr(query, name) for name in RunFilter.model_fields})
