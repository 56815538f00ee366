"""Who asks for a page, and what they can do there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request, Response
from pydantic import AfterValidator, BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse

from tickwork.errors import InvalidInputError
from tickwork.service.actors import Via
from tickwork.service.dashboard.rendering import HEADERS, Links, render
from tickwork.service.hosting import CSRF_HEADER, Service, check_csrf
from tickwork.service.operations import Operations
from tickwork.service.paths import restored

__all__ = [
    "DeedDep",
    "RunId",
    "TaskId",
    "Visit",
    "VisitDep",
    "faults_of",
    "in_utc",
    "read_model",
    "text_of",
]

M = TypeVar("M", bound=BaseModel)

TaskId = Annotated[str, Path(min_length=1, max_length=191), AfterValidator(restored)]
RunId = TaskId


class Visit:
    """A request for a page by somebody who is known, and what they sent along."""

    def __init__(self, request: Request, form: FormData | None = None) -> None:
        self.request = request
        self.service: Service = request.app.state.service
        self.actor = self.service.actor(request, Via.UI)
        self.operations: Operations = self.service.operations(self.actor)
        self.links = Links(request.scope.get("root_path", ""))
        self.form = form if form is not None else FormData()

    @property
    def store(self) -> str | None:
        """In which store; None: in whichever has it."""
        return self.request.query_params.get("store") or None

    @property
    def cursor(self) -> str | None:
        """Where the page of a list begins."""
        return self.request.query_params.get("cursor") or None

    def asked(self, names: Iterable[str]) -> dict[str, str]:
        """Return what the address says of some things; what is empty isn't said."""
        params = self.request.query_params
        return {name: params[name] for name in names if params.get(name)}

    def text(self, name: str) -> str | None:
        """Return what a form says, None for nothing."""
        return text_of(self.form, name)

    def page(self, template: str, *, status: int = 200, **known: Any) -> Response:
        """Return a page for them."""
        return render(self.request, template, status=status, actor=self.actor, **known)

    @staticmethod
    def go(address: str) -> Response:
        """Return what sends them on after a change, so that a reload doesn't repeat it."""
        return RedirectResponse(address, 303, dict(HEADERS))


def text_of(form: FormData, name: str) -> str | None:
    """Return a field's text, None where it is empty or a file."""
    value = form.get(name)
    return value.strip() or None if isinstance(value, str) else None


def in_utc(text: str | None) -> str | None:
    """Return what a field for date and time holds, which knows no time zone, as one in UTC."""
    return f"{text}Z" if text and "T" in text and text[-1].isdigit() and "+" not in text else text


def get_visit(request: Request) -> Visit:
    """Return who asks to look at something."""
    return Visit(request)


async def read_form(request: Request) -> FormData:
    """Return the fields that a form sent."""
    return await request.form(max_files=0, max_fields=200)


def get_deed(request: Request, form: Annotated[FormData, Depends(read_form)]) -> Visit:
    """Return who asks for a change, if it was a page of ours that made them.

    Raises:
        AccessDeniedError: the form isn't of their session.
    """
    visit = Visit(request, form)
    given = text_of(form, "csrf") or request.headers.get(CSRF_HEADER)
    check_csrf(visit.actor, request.method, given)
    return visit


VisitDep = Annotated[Visit, Depends(get_visit)]
DeedDep = Annotated[Visit, Depends(get_deed)]


def read_model(kind: type[M], values: dict[str, Any]) -> M:
    """Return values as a model.

    Raises:
        InvalidInputError: they don't fit; the message names each that doesn't.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        told = "; ".join(f"{name}: {message}" for name, message in faults_of(error).items())
        raise InvalidInputError(told) from error


def faults_of(error: ValidationError) -> dict[str, str]:
    """Return what is wrong, by the name of the field."""
    faults: dict[str, str] = {}
    for each in error.errors():
        name = str(each["loc"][0]) if each["loc"] else "form"
        faults.setdefault(name, each["msg"].removeprefix("Value error, "))
    return faults
