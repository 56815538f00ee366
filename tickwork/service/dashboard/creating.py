"""Creating a task of a function that is allowed, with its next fires shown while it is written."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import ValidationError

from tickwork.errors import ConflictError, InvalidInputError
from tickwork.service.dashboard.fields import (
    GROUPS,
    NAMES,
    InvalidFieldError,
    default_texts,
    read_values,
    texts_in,
)
from tickwork.service.dashboard.visiting import DeedDep, Visit, VisitDep, faults_of
from tickwork.service.errors import FunctionNotAllowedError
from tickwork.service.models import NewTask, PreviewRequest, PreviewView
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter()


@router.get("/new-task")
def ask_task(visit: VisitDep) -> Response:
    """Show an empty form."""
    visit.actor.require(Action.TASKS_CREATE)
    given = dict.fromkeys(("function", "id", "paused"), "")
    return _page(visit, default_texts(), given, {}, None)


@router.post("/new-task")
def create_task(visit: DeedDep) -> Response:
    """Show when the task would fire; create it if that is what the button says."""
    visit.actor.require(Action.TASKS_CREATE)
    texts = texts_in(visit.form)
    given = {name: visit.text(name) or "" for name in ("function", "id", "paused")}
    faults: dict[str, str] = {}
    new = _read(texts, given, faults)
    preview = _preview(visit, texts, faults)
    if visit.text("step") != "save":
        if not given["function"]:
            faults.pop("function", None)
        return _page(visit, texts, given, faults, preview)
    if new is None or faults:
        return _page(visit, texts, given, faults, preview, status=422)
    try:
        task = visit.operations.create_task(new)
    except (InvalidInputError, ConflictError, FunctionNotAllowedError) as error:
        faults["function" if isinstance(error, FunctionNotAllowedError) else "form"] = str(error)
        return _page(visit, texts, given, faults, preview, status=422)
    return visit.go(visit.links.task(task.id, task.store, said="created"))


def _read(texts: dict[str, str], given: dict[str, str], faults: dict[str, str]) -> NewTask | None:
    """Return the task that is wanted; what can't be read goes into `faults`."""
    known = default_texts()
    touched = {name for name in NAMES if texts[name] != known[name]} | {"schedule"}
    try:
        values: dict[str, Any] = read_values(texts, touched)
        values = {name: value for name, value in values.items() if value is not None}
        values |= {"function": given["function"], "paused": given["paused"] == "1"}
        return NewTask.model_validate(values | ({"id": given["id"]} if given["id"] else {}))
    except InvalidFieldError as error:
        faults[error.name] = str(error)
    except ValidationError as error:
        faults |= faults_of(error)
        if "function" in faults:
            faults["function"] = "choose a function, as module:name"
    return None


def _preview(visit: Visit, texts: dict[str, str], faults: dict[str, str]) -> PreviewView | None:
    if not texts["schedule"]:
        return None
    try:
        request = PreviewRequest(schedule=texts["schedule"], timezone=texts["timezone"] or None)
        return visit.operations.preview(request)
    except ValidationError as error:
        faults |= faults_of(error)
    except InvalidInputError as error:
        faults["schedule"] = str(error)
    return None


def _page(  # noqa: PLR0917  the parts of one page
    visit: Visit,
    texts: dict[str, str],
    given: dict[str, str],
    faults: dict[str, str],
    preview: PreviewView | None,
    *,
    status: int = 200,
) -> Response:
    functions = visit.operations.list_functions()
    return visit.page(
        "new_task.html",
        status=status,
        groups=GROUPS,
        texts=texts,
        given=given,
        faults=faults,
        preview=preview,
        exact=[each.reference for each in functions if "*" not in each.reference],
        patterns=[each.reference for each in functions if "*" in each.reference],
    )
