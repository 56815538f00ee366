"""Editing a task: what would change is shown before it is saved.

Edits don't overwrite each other. A form carries the etag of the task that it was made from; where
somebody else has saved something since, it is made anew upon that, with what was touched in it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Response
from pydantic import ValidationError

from tickwork.errors import InvalidInputError, StaleEditError
from tickwork.service.dashboard.fields import (
    GROUPS,
    NAMES,
    InvalidFieldError,
    read_values,
    texts_in,
    texts_of,
)
from tickwork.service.dashboard.visiting import DeedDep, TaskId, Visit, VisitDep, faults_of
from tickwork.service.models import TaskChange, TaskPreview, TaskView
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter()


class _Edit:
    """What a form says about a task, seen against the task as it is now."""

    def __init__(self, visit: Visit, task: TaskView) -> None:
        self.visit, self.task = visit, task
        sent, self.was = texts_in(visit.form), _was(visit)
        self.current = texts_of(task)
        mine = {name: text for name, text in sent.items() if text != self.was.get(name, "")}
        self.texts = self.current | mine
        self.touched = {name for name, text in mine.items() if text != self.current[name]}
        self.theirs = [
            (name, self.was.get(name, ""), self.current[name])
            for name in NAMES
            if self.was.get(name, "") != self.current[name]
        ]
        self.stale = visit.text("etag") != task.etag
        self.faults: dict[str, str] = {}
        self.preview: TaskPreview | None = None

    @property
    def digest(self) -> str:
        """What was shown, as a word that tells whether it is still the same."""
        shown = {name: self.texts[name] for name in sorted(self.touched)}
        return sha256(json.dumps([shown, self.task.etag]).encode()).hexdigest()[:16]

    @property
    def wanted(self) -> bool:
        """Whether what is to be saved is what was shown."""
        return (
            self.visit.text("step") == "save"
            and not self.stale
            and self.preview is not None
            and self.visit.text("shown") == self.digest
        )

    def change(self) -> TaskChange | None:
        """Return the change, None where it can't be read or there is none."""
        if not self.touched:
            return None
        try:
            return TaskChange.model_validate(read_values(self.texts, self.touched))
        except InvalidFieldError as error:
            self.faults[error.name] = str(error)
        except ValidationError as error:
            self.faults |= faults_of(error)
        return None

    def look(self) -> TaskChange | None:
        """Find out what the change would do."""
        change = self.change()
        if change is None:
            return None
        try:
            self.preview = self.visit.operations.change_task(
                self.task.id, change, store=self.task.store, dry_run=True
            )
        except InvalidInputError as error:
            name = "schedule" if {"schedule", "timezone"} & self.touched else "form"
            self.faults[name] = str(error)
        return change

    def page(self) -> Response:
        """Return the form with what it would change."""
        status = 422 if self.faults else 409 if self.stale else 200
        return self.visit.page(
            "edit.html",
            status=status,
            task=self.task,
            groups=GROUPS,
            texts=self.texts,
            was=json.dumps(self.current),
            faults=self.faults,
            preview=self.preview,
            theirs=self.theirs if self.stale else [],
            stale=self.stale,
            shown=self.digest,
            looked=True,
        )


def _was(visit: Visit) -> dict[str, str]:
    """Return what the fields held when the form was made."""
    try:
        was: Any = json.loads(visit.text("was") or "{}")
    except (ValueError, RecursionError):
        was = {}
    if not isinstance(was, dict):
        return {}
    return {name: str(was.get(name, "")) for name in NAMES}


@router.get("/tasks/{task_id}/edit")
def ask_edit(visit: VisitDep, task_id: TaskId) -> Response:
    """Show a task as a form."""
    visit.actor.require(Action.TASKS_CHANGE)
    task = visit.operations.get_task(task_id, store=visit.store)
    texts = texts_of(task)
    return visit.page(
        "edit.html",
        task=task,
        groups=GROUPS,
        texts=texts,
        was=json.dumps(texts),
        faults={},
        preview=None,
        theirs=[],
        stale=False,
        shown="",
        looked=False,
    )


@router.post("/tasks/{task_id}/edit")
def edit_task(visit: DeedDep, task_id: TaskId) -> Response:
    """Show what a change would do; save it once that was shown."""
    visit.actor.require(Action.TASKS_CHANGE)
    edit = _Edit(visit, visit.operations.get_task(task_id, store=visit.store))
    change = edit.look()
    if change is None or not edit.wanted:
        return edit.page()
    try:
        saved = visit.operations.change_task(
            task_id, change, store=edit.task.store, etag=visit.text("etag")
        )
    except StaleEditError:
        again = _Edit(visit, visit.operations.get_task(task_id, store=visit.store))
        again.look()
        return again.page()
    return visit.go(visit.links.task(task_id, saved.task.store, said="changed"))
