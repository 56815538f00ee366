"""Definitions of tasks as YAML: how they are written down and read again.

What stands there is complete and stable: the tasks in the order of their ids, the fields always in
the same order, and of the options those that differ from the defaults.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.instants import SECOND
from tickwork.model.json_text import from_text
from tickwork.service.models import Options
from tickwork.service.rules import Rules
from tickwork.service.schedules import read_schedule
from tickwork.service.views import masked
from tickwork.wiring import load_trigger

__all__ = ["MEANINGS", "described", "read_file", "trigger_of", "write_file"]

VERSION = 1

MEANINGS = {
    "id": "what the task is called, unique in its store",
    "function": "what is called, as module:name",
    "schedule": "when: a cron expression, an interval such as 5m, or a moment",
    "timezone": "where the schedule reads clocks",
    "trigger": "when, as data, where no schedule says it",
    "name": "what people see",
    "args": "arguments by position; what begins with $ is a value that JSON doesn't know",
    "kwargs": "arguments by name",
    "executor": "where it is executed",
    "tags": "words to find it by",
    "coalesce": "which of several fire times that are due is executed",
    "misfire_grace_time": "seconds after which a fire time is missed",
    "max_instances": "how many of its runs there are at a time",
    "jitter": "seconds by which a fire is put off at random",
    "delivery": "whether a run whose node died is executed again",
    "fixed_delay": "whether the next fire is counted from the end of a run",
    "retries": "how often a run that failed is tried again",
    "delay": "seconds before it is tried again",
    "backoff": "what that time is multiplied by after each failure",
    "max_delay": "seconds that it gets at most",
    "retry_jitter": "seconds that are added to it at random, at most",
    "retry_on": "exceptions that it is tried again after",
    "give_up_on": "exceptions that it isn't tried again after",
    "timeout": "seconds that a run may take; null: as many as it wants",
    "result_ttl": "seconds that results are kept",
    "keep": "of which runs the history is kept",
    "priority": "higher ones first",
    "overlap": "what happens to a fire time while max_instances run",
    "max_queued": "how many may wait",
    "concurrency_key": "of runs with the same key, so many run at a time:",
    "concurrency_limit": "how many",
    "run_on_startup": "whether it is executed at each start of a scheduler, too",
    "max_runs": "after how many runs it is finished",
    "pause_after_failures": "after how many failures in a row it is paused",
    "max_history": "how many of its runs are kept",
    "paused": "whether it is made paused; not compared",
}
"""The fields in their order, and what they mean."""

_STORED_US = {
    "misfire_grace_time": "misfire_grace_us",
    "jitter": "jitter_us",
    "delay": "retry_delay_us",
    "max_delay": "max_delay_us",
    "retry_jitter": "retry_jitter_us",
    "timeout": "timeout_us",
    "result_ttl": "result_ttl_us",
}
_STORED = {"concurrency_key": "key_template"}
_WHEN = {"schedule", "timezone", "trigger"}
_OWN = {"id", "function", "paused", *_WHEN}
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def described(definition: Definition, task_id: str, rules: Rules) -> dict[str, Any]:
    """Return a definition as the data of a file, without what is hidden."""
    plain = Options()
    found: dict[str, Any] = {"id": task_id, "function": definition.function}
    found |= _when(definition.trigger)
    arguments = from_text(definition.payload) if definition.payload else {}
    for name in Options.model_fields:
        if name in {"args", "kwargs"}:
            value, default = masked(arguments.get(name, []), rules) or None, None
        else:
            value, default = _stored(definition, name), getattr(plain, name)
        if value != default:
            found[name] = value
    if found.get("timeout") == 0:
        found["timeout"] = None  # none at all, which differs from not saying it
    if definition.name == definition.function.rpartition(":")[2].rpartition(".")[2]:
        found.pop("name", None)
    return {name: found[name] for name in MEANINGS if name in found}


def _stored(definition: Definition, name: str) -> Any:
    if name in _STORED_US:
        stored_us = getattr(definition, _STORED_US[name])
        return None if stored_us is None else _number(stored_us / SECOND)
    value = getattr(definition, _STORED.get(name, name))
    if isinstance(value, tuple):
        return list(value)
    return getattr(value, "value", value)


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _when(trigger: Trigger) -> dict[str, Any]:
    """Return a trigger as a schedule where one says the same, and as its data otherwise."""
    data = trigger.to_json()
    zone = data.get("timezone")
    for text in _spellings(data):
        if read_schedule(text, zone).to_json() == data:
            said = {"schedule": text}
            return said if zone is None else {**said, "timezone": zone}
    return {"trigger": data}


def _spellings(data: Mapping[str, Any]) -> Iterator[str]:
    kind = data.get("kind")
    if kind == "cron" and isinstance(data.get("crontab"), str):
        yield data["crontab"]
    if kind == "date" and isinstance(data.get("run_at"), str):
        yield data["run_at"]
    if kind == "interval" and isinstance(data.get("interval_us"), int):
        seconds, rest = divmod(data["interval_us"], SECOND)
        for step, letter in _STEPS:
            if not rest and seconds % step == 0:
                yield f"{seconds // step}{letter}"


def trigger_of(entry: Mapping[str, Any]) -> Trigger:
    """Return the trigger that a task of a file says.

    Raises:
        InvalidInputError: it says none, or several, or one that there isn't.
    """
    if ("schedule" in entry) == ("trigger" in entry):
        raise InvalidInputError(f"task {entry['id']!r}: say either `schedule` or `trigger`")
    if "schedule" in entry:
        return read_schedule(str(entry["schedule"]), entry.get("timezone"))
    try:
        return load_trigger(entry["trigger"])
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidInputError(
            f"task {entry['id']!r}: `trigger` can't be understood: {error}"
        ) from error


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the tasks of a file, or of the input for `-`, by their ids.

    Raises:
        InvalidInputError: it isn't there, no YAML, or says what no task has.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InvalidInputError(f"can't read {path}: {error}") from error
    yaml = _yaml()
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        first = str(error).replace("\n", " ")
        raise InvalidInputError(f"{path} is no YAML: {first}") from error
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise InvalidInputError(f"{path} has no `version: {VERSION}`; is it of `tickwork export`?")
    tasks = data.get("tasks") or []
    entries = [_checked(each, place) for place, each in enumerate(tasks, 1)]
    ids = [each["id"] for each in entries]
    twice = (
        sorted({each for each in ids if ids.count(each) > 1}) if len(set(ids)) < len(ids) else []
    )
    if twice:
        raise InvalidInputError(f"{path} has tasks twice: {', '.join(twice)}")
    return sorted(entries, key=lambda each: str(each["id"]))


def _checked(entry: Any, place: int) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidInputError(f"task {place} has no fields; it must look like `- id: ...`")
    for name in ("id", "function"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            raise InvalidInputError(f"task {place} has no `{name}`")
    unknown = sorted(str(name) for name in entry.keys() - MEANINGS.keys())
    if unknown:
        raise InvalidInputError(f"task {entry['id']!r} has unknown fields: {', '.join(unknown)}")
    options = {name: value for name, value in entry.items() if name not in _OWN}
    try:
        checked = Options(**options).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"task {entry['id']!r}: {where}: {first['msg']}") from error
    trigger_of(entry)
    return {**entry, **checked}


def write_file(entries: list[dict[str, Any]], where: str) -> str:
    """Return tasks as the text of a file, which says at its top what the fields mean."""
    yaml = _yaml()
    used = [name for name in MEANINGS if any(name in entry for entry in entries)]
    wide = max(map(len, used), default=0)
    lines = [
        f"# The definitions of the tasks in {where}, as `tickwork export` writes them.",
        "# `tickwork diff` compares them with a store, `tickwork apply` makes them its own.",
        "# Options that aren't said are as by default.",
        *([""] if used else []),
        *(f"#   {name:<{wide}}  {MEANINGS[name]}" for name in used),
        "",
        f"version: {VERSION}",
        "tasks:" if entries else "tasks: []",
    ]
    for entry in entries:
        text = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=100)
        first, *others = text.splitlines()
        lines += ["", f"- {first}", *(f"  {line}" for line in others)]
    return "\n".join(lines) + "\n"


def _yaml() -> Any:
    try:
        return import_module("yaml")
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "files of definitions need the package 'pyyaml': pip install 'tickwork[service]'"
        ) from error
