"""Errors as answers: `application/problem+json` of RFC 9457, out of the tree of errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from tickwork.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SchedulerStateError,
    StaleEditError,
    StoreError,
    TaskError,
    TickworkError,
    WaitTimeoutError,
)
from tickwork.service.codes import code_of
from tickwork.service.errors import (
    AccessDeniedError,
    RequestTooLargeError,
    TooManyAttemptsError,
    UnauthenticatedError,
)

__all__ = ["STATUSES", "Problem", "answer_problems", "problem_of", "problems", "status_of"]

logger = logging.getLogger("tickwork.service")

STATUSES: tuple[tuple[type[TickworkError], int], ...] = (
    (UnauthenticatedError, 401),
    (AccessDeniedError, 403),
    (TooManyAttemptsError, 429),
    (RequestTooLargeError, 413),
    (InvalidInputError, 422),
    (NotFoundError, 404),
    (StaleEditError, 412),
    (SchedulerStateError, 503),
    (ConflictError, 409),
    (WaitTimeoutError, 504),
    (StoreError, 503),
    (TaskError, 500),
    (TickworkError, 500),
)
"""The HTTP status of each branch of the tree of errors; the first that fits."""

_TITLES = {
    400: "Bad request",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Request too large",
    422: "Invalid input",
    429: "Too many attempts",
    500: "Internal error",
    503: "Try again later",
    504: "Not in time",
}
_JSON = "application/problem+json"


class Fault(BaseModel):
    """What is wrong with one part of a request."""

    model_config = ConfigDict(frozen=True)

    where: list[str | int]
    message: str


class Problem(BaseModel):
    """Why a request could not be answered. `type` is stable, `detail` is for people."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


def status_of(error: TickworkError) -> int:
    """Return the HTTP status of an error."""
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def problem_of(error: TickworkError) -> Problem:
    """Return what is answered for an error."""
    return _problem(code_of(type(error)), status_of(error), str(error))


def _problem(code: str, status: int, detail: str, errors: Sequence[Fault] = ()) -> Problem:
    return Problem(
        type=f"urn:tickwork:error:{code}",
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        errors=list(errors),
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route answers when it can't do what it is asked for, for OpenAPI.

    Any may be answered with 400, 401, 403, 413, 422, 500 or 503 as well.
    """
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _TITLES[status], "content": {_JSON: {"schema": schema}}}
        for status in sorted({400, 401, 403, 413, 422, 500, 503, *statuses})
    }


def answer_problems(app: FastAPI) -> None:
    """Have an application answer all errors as problems."""
    app.add_exception_handler(TickworkError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unexpected)


def response_of(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Return a problem as a response."""
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=_JSON)


def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, TickworkError)  # noqa: S101  registered for no other
    problem = problem_of(error)
    headers = {}
    if isinstance(error, TooManyAttemptsError):
        headers["Retry-After"] = str(error.wait_s)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tickwork"'
    if problem.status >= 500:
        logger.warning("%s: %s", problem.type, problem.detail)
    return response_of(problem, headers)


def _answer_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for no other
    faults = [Fault(where=list(each["loc"]), message=each["msg"]) for each in error.errors()]
    told = "; ".join(f"{'.'.join(map(str, each.where))}: {each.message}" for each in faults)
    return response_of(_problem("invalid-request", 422, told, faults))


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for no other
    headers = dict(error.headers or {})
    if error.status_code == 405:
        methods = _methods_at(request)
        if methods:
            headers["Allow"] = ", ".join(sorted(methods))
    title = _TITLES.get(error.status_code, "error")
    code = title.lower().replace(" ", "-")
    problem = _problem(code, error.status_code, str(error.detail))
    return response_of(problem, headers)


def _methods_at(request: Request) -> set[str]:
    """Return all methods of a path; the framework knows those of one of its routes only."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    paths = request.app.openapi()["paths"]
    # A path that is named as it is, is none with a parameter.
    templates = [path] if path in paths else list(paths)
    return {
        method.upper()
        for template in templates
        if compile_path(template)[0].match(path)
        for method in paths[template]
    }


def _answer_unexpected(request: Request, error: Exception) -> Response:
    if isinstance(error, ValidationError):
        logger.error("an answer to %s can't be made: %s", request.url.path, error)
    detail = "something unexpected happened; the service's log says what"
    return response_of(_problem("unexpected", 500, detail))
