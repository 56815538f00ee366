"""The fields of the forms for tasks: how values stand in them, and what is read out of them.

A form remembers what its fields held when it was made (`was`). What differs from that is what its
user has touched, and only that is changed: what others have changed meanwhile stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from starlette.datastructures import FormData

from tickwork.model.policies import Coalesce, Delivery, Keep, Overlap
from tickwork.service.dashboard.words import schedule_text
from tickwork.service.models import NewTask, TaskView

__all__ = [
    "GROUPS",
    "NAMES",
    "Field",
    "InvalidFieldError",
    "default_texts",
    "read_values",
    "texts_in",
    "texts_of",
]


class Field(NamedTuple):
    """A field of a form."""

    name: str
    label: str
    kind: Literal["text", "number", "choice", "check", "words", "json", "moment"] = "text"
    hint: str = ""
    choices: tuple[str, ...] = ()


class Group(NamedTuple):
    """Fields that belong together; `open` says whether they are seen at once."""

    title: str
    fields: tuple[Field, ...]
    open: bool = True


class InvalidFieldError(ValueError):
    """What stands in a field can't be read."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _choices(kind: type[StrEnum]) -> tuple[str, ...]:
    return tuple(each.value for each in kind)


_SECONDS = "seconds"

GROUPS = (
    Group(
        "When",
        (
            Field("schedule", "Schedule", hint='cron ("0 8 * * mon-fri"), interval ("5m") or '
                  'moment ("2026-12-24 18:00")'),
            Field("timezone", "Time zone", hint="such as Europe/Berlin; empty: the scheduler's"),
            Field("next_run_time", "Next fire", "moment", "UTC; fires then once, and goes on by "
                  "the schedule"),
        ),
    ),
    Group(
        "What",
        (
            Field("name", "Name"),
            Field("args", "Positional arguments", "json", "a JSON list"),
            Field("kwargs", "Named arguments", "json", "a JSON object"),
            Field("executor", "Executor"),
            Field("tags", "Tags", "words", "with commas between them"),
        ),
    ),
    Group(
        "When it fails",
        (
            Field("retries", "Retries", "number"),
            Field("delay", "Delay before a retry", "number", _SECONDS),
            Field("backoff", "Back-off", "number", "each delay is so many times the one before"),
            Field("max_delay", "Longest delay", "number", f"{_SECONDS}; empty: no limit"),
            Field("timeout", "Timeout", "number", f"{_SECONDS}; empty: none"),
            Field("pause_after_failures", "Pause after failures in a row", "number",
                  "empty: never"),
            Field("delivery", "When its node dies", "choice", "at_least_once: executed again",
                  _choices(Delivery)),
        ),
        open=False,
    ),
    Group(
        "When it is late or overlaps",
        (
            Field("misfire_grace_time", "Grace", "number", f"{_SECONDS} after which a fire is "
                  "missed; empty: never"),
            Field("coalesce", "Several due fires become", "choice", "", _choices(Coalesce)),
            Field("max_instances", "Runs at a time", "number"),
            Field("overlap", "When there are as many", "choice", "", _choices(Overlap)),
            Field("max_queued", "Longest queue", "number"),
            Field("jitter", "Jitter", "number", _SECONDS),
            Field("fixed_delay", "Count from the end of the run before", "check"),
            Field("priority", "Priority", "number", "higher ones go first"),
        ),
        open=False,
    ),
    Group(
        "How long, and what is kept",
        (
            Field("max_runs", "Runs in all", "number", "empty: no limit"),
            Field("max_history", "Runs that stay listed", "number", "empty: as the store has it"),
            Field("keep", "Which stay listed", "choice", "", _choices(Keep)),
            Field("run_on_startup", "Also run when a scheduler starts", "check"),
        ),
        open=False,
    ),
)  # fmt: skip
_FIELDS = {field.name: field for group in GROUPS for field in group.fields}
NAMES = tuple(_FIELDS)


def texts_of(task: TaskView) -> dict[str, str]:
    """Return what the fields hold of a task as it is."""
    values: dict[str, Any] = {name: getattr(task, name, None) for name in NAMES}
    values["schedule"] = schedule_text(task.trigger)
    # The next fire moves by itself: it is only said to be moved.
    values["next_run_time"] = None
    return {name: _text(field, values[name]) for name, field in _FIELDS.items()}


def default_texts() -> dict[str, str]:
    """Return what the fields of a task hold that isn't there yet."""
    new = NewTask(function="a:b")
    return {name: _text(field, getattr(new, name, None)) for name, field in _FIELDS.items()}


def _text(field: Field, value: Any) -> str:
    if value is None or value == "":
        return ""
    match field.kind:
        case "json":
            return json.dumps(value, ensure_ascii=False, default=str)
        case "words":
            return ", ".join(value)
        case "check":
            return "1" if value else ""
        case "moment":
            return value.isoformat() if isinstance(value, datetime) else str(value)
        case "number":
            return f"{value:g}" if isinstance(value, float) and value == int(value) else str(value)
    return str(value)


def texts_in(form: FormData) -> dict[str, str]:
    """Return what the fields hold that were sent."""
    sent = {name: form.get(name) for name in NAMES}
    texts = {name: value if isinstance(value, str) else "" for name, value in sent.items()}
    return {name: text.replace("\r\n", "\n").strip() for name, text in texts.items()}


def read_values(texts: Mapping[str, str], touched: set[str]) -> dict[str, Any]:
    """Return the values of fields that were touched, as models take them.

    Raises:
        InvalidFieldError: the text of one is no such value.
    """
    values = {name: _value(_FIELDS[name], texts[name]) for name in sorted(touched)}
    if touched & {"schedule", "timezone"}:
        values |= {"schedule": texts["schedule"] or None, "timezone": texts["timezone"] or None}
        if values["schedule"] is None:
            raise InvalidFieldError("schedule", "say when it fires, or leave both as they were")
    return values


def _value(field: Field, text: str) -> Any:
    match field.kind:
        case "check":
            return text == "1"
        case "words":
            return [word.strip() for word in text.split(",") if word.strip()]
        case "json":
            return _json(field, text)
        case "moment":
            return f"{text}Z" if text and text[-1].isdigit() and "+" not in text else text or None
    return text or None


def _json(field: Field, text: str) -> Any:
    empty: Any = [] if field.name == "args" else {}
    try:
        value = json.loads(text) if text else empty
    except (ValueError, RecursionError) as error:
        raise InvalidFieldError(field.name, f"this isn't JSON: {error}") from error
    if type(value) is not type(empty):
        raise InvalidFieldError(field.name, f"this must be {field.hint}")
    return value
