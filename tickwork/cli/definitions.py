"""`tickwork export`, `diff` and `apply`: the definitions of a store, and those of a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import typer

from tickwork.cli.client import Client, connected
from tickwork.cli.desk import confirm, operations_of, see_working_directory
from tickwork.cli.failures import NOTABLE, exit_code_of
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.cli.yaml_file import described, read_file, trigger_of, write_file
from tickwork.errors import InvalidInputError, TickworkError
from tickwork.model.definition import Definition
from tickwork.model.functions import resolve
from tickwork.model.json_text import from_text, to_text
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import TaskQuery
from tickwork.model.values import decode_arguments
from tickwork.service.models import Options
from tickwork.service.operations import Operations
from tickwork.service.roles import Action
from tickwork.service.rules import HIDDEN, HIDDEN_BY_DEFAULT, Rules

__all__ = ["apply_tasks", "diff_tasks", "export_tasks"]

_PAGE = 1_000
_MASK = Rules(hide=HIDDEN_BY_DEFAULT)
_OPEN = Rules(hide=())

Entry = dict[str, Any]


@dataclass(slots=True)
class _Difference:
    """What of a store isn't as in a file."""

    create: list[Entry] = field(default_factory=list)
    change: list[tuple[Entry, Entry]] = field(default_factory=list)
    """The entries of the file, and what the store has."""
    remove: list[str] = field(default_factory=list)
    others: int = 0
    same: int = 0

    def __bool__(self) -> bool:
        return bool(self.create or self.change or self.remove)


def export_tasks(
    context: typer.Context, store: str | None, tag: str | None, *, secrets: bool
) -> None:
    """Print the definitions of a store; what can't be understood is told, and left out."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        entries = list(_entries(client, tag, _OPEN if secrets else _MASK))
        sys.stdout.write(write_file(entries, client.where))


def diff_tasks(
    context: typer.Context, store: str | None, file: Path, *, prune: bool, as_json: bool
) -> None:
    """Print what `apply` would change; exits with 10 where that is something."""
    terminal = terminal_of(context)
    wanted = read_file(file)
    with connected(store, terminal.clock) as client:
        found = _compare(client, wanted, prune=prune)
    _tell(terminal, found, as_json=as_json, applied=False)
    if found:
        raise typer.Exit(NOTABLE)


def apply_tasks(
    context: typer.Context,
    store: str | None,
    file: Path,
    *,
    prune: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the tasks of a store those of a file."""
    terminal = terminal_of(context)
    wanted = read_file(file)
    see_working_directory()
    with connected(store, terminal.clock) as client:
        found = _compare(client, wanted, prune=prune)
        if not found or dry_run or not (yes or sys.stdin.isatty()):
            _tell(terminal, found, as_json=as_json, applied=False)
            if found and not dry_run and not as_json:
                terminal.say("Nothing is changed yet; --yes does it.")
            raise typer.Exit(NOTABLE if found else 0)
        if not as_json:
            _tell(terminal, found, as_json=False, applied=False)
        confirm(f"Apply this to {client.where}?", yes=yes)
        failed = _Applying(client).apply(found)
    if as_json:
        _tell(terminal, found, as_json=True, applied=True, failed=failed)
    else:
        _tell_failures(terminal, found, failed)
    if failed:
        raise typer.Exit(exit_code_of(next(iter(failed.values()))))


def _entries(client: Client, tag: str | None, rules: Rules) -> Iterator[Entry]:
    for record in _records(client, tag):
        if record.state is ScheduleState.FINISHED:
            continue  # its schedule is over: elsewhere, it would begin anew
        if not isinstance(record.definition, Definition):
            typer.echo(f"left out: {record.id}: {record.definition.reason}", err=True)
            continue
        entry = described(record.definition, record.id, rules)
        if record.state is ScheduleState.PAUSED:
            entry["paused"] = True
        yield entry


def _records(client: Client, tag: str | None) -> Iterator[TaskRecord]:
    reader = operations_of(client).reach.reader("default")
    after: tuple[str, str] | None = None
    while page := reader.find_tasks(TaskQuery(tag=tag, limit=_PAGE, after=after)):
        yield from page
        after = page[-1].id, page[-1].id


def _compare(client: Client, wanted: list[Entry], *, prune: bool) -> _Difference:
    there = {entry["id"]: entry for entry in _entries(client, None, _OPEN)}
    settled = operations_of(client).reach.settled
    found = _Difference()
    for entry in wanted:
        known = there.pop(entry["id"], None)
        plain = _normal(entry, settled)
        if known is None:
            _refuse_hidden(entry)
            found.create.append(entry)
        elif differing := _differing(plain, _normal(known, settled)):
            found.change.append((entry, {"id": entry["id"], **differing}))
        else:
            found.same += 1
    if prune:
        found.remove = sorted(there)
    found.others = len(there) - len(found.remove)
    return found


def _normal(entry: Entry, settled: Callable[[Any], Any]) -> Entry:
    """Return what an entry means, in one form: its trigger as data, defaults said."""
    said = {name: value for name, value in entry.items() if name in Options.model_fields}
    options = Options(**said).model_dump(mode="json")
    name = entry["function"].rpartition(":")[2].rpartition(".")[2]
    trigger = settled(trigger_of(entry)).to_json()
    if options["timeout"] is None and "timeout" in said:
        options["timeout"] = 0  # none at all; not to say it means the scheduler's default
    usual = {"name": options["name"] or name, "executor": options["executor"] or None}
    return {"function": entry["function"], "trigger": trigger, **options, **usual}


def _differing(wanted: Entry, known: Entry) -> dict[str, tuple[Any, Any]]:
    """Return what differs: by field, what it is and what it would be."""
    found = {}
    kept = {
        key: known["kwargs"][key] for key in _hidden(wanted["kwargs"]) if key in known["kwargs"]
    }
    wanted = {**wanted, "kwargs": {**wanted["kwargs"], **kept}}
    for name, value in wanted.items():
        if name == "executor" and value is None:
            continue  # the one for this kind of function, which only importing it tells
        if to_text(value) != to_text(known[name]):
            found[name] = (known[name], value)
    return found


def _hidden(kwargs: Mapping[str, Any]) -> list[str]:
    return [name for name, value in kwargs.items() if value == HIDDEN]


def _refuse_hidden(entry: Entry) -> None:
    if HIDDEN in repr([entry.get("args"), entry.get("kwargs")]):
        raise InvalidInputError(
            f"task {entry['id']!r} is new, and some of its arguments are {HIDDEN}: write their "
            "values, or export it with --secrets"
        )


class _Applying(Operations):
    """Makes the tasks of a store those of a file, with entries in the audit log."""

    def __init__(self, client: Client) -> None:
        base = operations_of(client)
        super().__init__(base.scheduler, base.actor, base.rules)

    def apply(self, found: _Difference) -> dict[str, TickworkError]:
        """Make what differs as the file has it; return what couldn't be done, by id."""
        failed: dict[str, TickworkError] = {}
        steps: list[tuple[str, Callable[[], object]]] = [
            *((entry["id"], partial(self._create, entry)) for entry in found.create),
            *((entry["id"], partial(self._alter, entry, known)) for entry, known in found.change),
            *((task_id, partial(self.remove_task, task_id)) for task_id in found.remove),
        ]
        for task_id, step in steps:
            try:
                step()
            except TickworkError as error:
                failed[task_id] = error
        return failed

    def _create(self, entry: Entry) -> None:
        options = _options(entry, entry)
        with self._doing(Action.TASKS_CREATE, entry["id"]) as doing:
            if entry.get("paused"):
                options["paused"] = True
            self.scheduler.add_task(entry["function"], trigger_of(entry), id=entry["id"], **options)
            doing.after = {"function": entry["function"]}

    def _alter(self, entry: Entry, differing: Entry) -> None:
        if "function" in differing:
            raise InvalidInputError("another function makes it another task: remove it first")
        if differing.get("timeout", (0, 0))[1] is None:
            raise InvalidInputError("say its timeout: null is none, and 60 a minute")
        task_id = entry["id"]
        wanted = {name: each[1] for name, each in differing.items() if name != "id"}
        with self._doing(Action.TASKS_CHANGE, task_id) as doing:
            options = _options(entry, {**wanted, **_whole_arguments(wanted, entry, self, task_id)})
            if "trigger" in wanted:
                options["trigger"] = trigger_of(entry)
            self.scheduler.update_task(task_id, store="default", **options)
            doing.after = {"fields": sorted(wanted)}


def _whole_arguments(
    wanted: Entry, entry: Entry, operations: Operations, task_id: str
) -> dict[str, Any]:
    """Return both kinds of arguments where one of them changes: they are decoded together."""
    if not {"args", "kwargs"} & wanted.keys():
        return {}
    record, _ = operations.reach.record(task_id, "default")
    stored: dict[str, Any] = {}
    if isinstance(record.definition, Definition) and record.definition.payload:
        stored = from_text(record.definition.payload)
    return {
        name: wanted.get(name, stored.get(name, entry.get(name))) for name in ("args", "kwargs")
    }


def _options(entry: Entry, fields: Entry) -> dict[str, Any]:
    """Return fields as the scheduler takes options."""
    options = {name: value for name, value in fields.items() if name in Options.model_fields}
    if options.get("timeout") == 0:
        options["timeout"] = None
    args, kwargs = options.get("args"), options.get("kwargs")
    if args is not None or kwargs is not None:
        payload = to_text({"args": args or [], "kwargs": kwargs or {}})
        values, named = decode_arguments(payload, resolve(entry["function"]))
        options |= {"args": list(values), "kwargs": named}
    return options


def _tell(
    terminal: Terminal,
    found: _Difference,
    *,
    as_json: bool,
    applied: bool,
    failed: Mapping[str, TickworkError] | None = None,
) -> None:
    if as_json:
        terminal.json(_data(found, applied=applied, failed=failed or {}))
        return
    for entry in found.create:
        when = entry.get("schedule") or str(trigger_of(entry))
        terminal.say(f"+ {entry['id']}: {when}, {entry['function']}")
    for entry, differing in found.change:
        terminal.say(f"~ {entry['id']}")
        for name, values in differing.items():
            if name != "id":
                before, after = (to_text(_shown(name, value)) for value in values)
                terminal.say(f"    {name}  {before} -> {after}")
    terminal.say(*(f"- {task_id}" for task_id in found.remove))
    if found.others:
        terminal.say(f"Not in the file, and kept: {found.others:,} (--prune removes them).")
    if not found:
        terminal.say(f"Nothing differs; as in the file: {found.same:,}.")


def _shown(name: str, value: Any) -> Any:
    from tickwork.service.views import masked

    return masked(value, _MASK) if name == "kwargs" else value


def _data(
    found: _Difference, *, applied: bool, failed: Mapping[str, TickworkError]
) -> dict[str, Any]:
    return {
        "create": [entry["id"] for entry in found.create],
        "change": [
            {
                "id": entry["id"],
                "changes": [
                    {"field": n, "before": _shown(n, v[0]), "after": _shown(n, v[1])}
                    for n, v in differing.items()
                    if n != "id"
                ],
            }
            for entry, differing in found.change
        ],
        "remove": found.remove,
        "not_in_file": found.others,
        "same": found.same,
        "applied": applied,
        "failed": [{"id": task_id, "error": str(error)} for task_id, error in failed.items()],
    }


def _tell_failures(
    terminal: Terminal, found: _Difference, failed: Mapping[str, TickworkError]
) -> None:
    done = len(found.create) + len(found.change) + len(found.remove) - len(failed)
    terminal.say(f"{done:,} done, {len(failed):,} failed.")
    terminal.say(*(f"  {task_id}: {error}" for task_id, error in failed.items()))
