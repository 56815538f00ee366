"""Tasks and runs as people see them: without what is hidden, with what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tickwork.model.definition import Definition
from tickwork.model.records import TaskRecord
from tickwork.model.signatures import parameters_of
from tickwork.model.snapshots import RunInfo, TaskInfo
from tickwork.service.models import Change, RunSummary, TaskView
from tickwork.service.rules import HIDDEN, Rules

__all__ = ["changes_between", "masked", "summary_of", "task_view"]

_NO_EDITS = {"etag", "updated_at", "created_at", "hidden", "active_runs", "queued_runs"}
_NO_EDITS |= {"paused_by", "paused_at", "runs_made", "failures_in_a_row", "problem"}


def task_view(info: TaskInfo, record: TaskRecord, rules: Rules, function: Any) -> TaskView:
    """Return a task as it is shown; `function` is its function, if that is at hand."""
    definition = record.definition
    zone = trigger = None
    if isinstance(definition, Definition):
        zone = getattr(definition.trigger, "timezone", None)
        trigger = _plain(definition.trigger.to_json())
    args, kwargs, hidden = _hidden(info, rules, function)
    fields = dict(info)
    fields |= {"args": args, "kwargs": kwargs, "hidden": hidden}
    return TaskView.model_construct(
        **fields, timezone=None if zone is None else str(zone), trigger=trigger
    )


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data, default=str))


def _hidden(
    info: TaskInfo, rules: Rules, function: Any
) -> tuple[list[Any], dict[str, Any], tuple[str, ...]]:
    """Return arguments without what is hidden, and the names of that.

    Whose place in a call has no name that is known here, might be anything, and is hidden as well.
    """
    if not rules.hide:
        return info.args, info.kwargs, ()
    hidden: dict[str, None] = {}
    parameters = parameters_of(function) if function is not None else None
    args = []
    for place, value in enumerate(info.args):
        name = parameters.name_at(place) if parameters is not None else None
        if name is None or rules.hides(name):
            hidden[name or f"args[{place}]"] = None
            args.append(HIDDEN)
        else:
            args.append(masked(value, rules, hidden))
    kwargs = {}
    for name, value in info.kwargs.items():
        if rules.hides(name):
            hidden[name] = None
            kwargs[name] = HIDDEN
        else:
            kwargs[name] = masked(value, rules, hidden)
    return args, kwargs, tuple(hidden)


def masked(value: Any, rules: Rules, hidden: dict[str, None] | None = None) -> Any:
    """Return JSON data without the values whose names are hidden; the names go into `hidden`."""
    noted: dict[str, None] = {} if hidden is None else hidden
    if isinstance(value, Mapping):
        found = {}
        for name, each in value.items():
            if rules.hides(str(name)):
                noted[str(name)] = None
                found[name] = HIDDEN
            else:
                found[name] = masked(each, rules, noted)
        return found
    if isinstance(value, list):
        return [masked(each, rules, noted) for each in value]
    return value


def changes_between(before: TaskView, after: TaskView) -> list[Change]:
    """Return what an edit changes, by field."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return [
        Change(field=name, before=old[name], after=new[name])
        for name in old
        if name not in _NO_EDITS and old[name] != new[name]
    ]


def summary_of(run: RunInfo) -> RunSummary:
    """Return a run without what may be long."""
    fields = {name: getattr(run, name) for name in _SUMMARY}
    error = run.error or {}
    return RunSummary.model_construct(
        **fields, error_type=error.get("type"), error_message=error.get("message")
    )


_SUMMARY = tuple(set(RunSummary.model_fields) - {"error_type", "error_message"})
