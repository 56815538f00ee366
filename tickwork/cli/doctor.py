"""`tickwork doctor`: what is wrong with a store, or may be soon.

An error is what keeps tasks from being executed, or will; a warning what somebody should look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import typer

from tickwork.cli.databases import sql_store
from tickwork.cli.desk import Desk, desk, gathered
from tickwork.cli.failures import BROKEN, NOTABLE
from tickwork.cli.moments import duration_of, duration_text, relative_text, seconds_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.model.policies import RunState
from tickwork.service.models import RunFilter, RunSummary, TaskFilter

__all__ = ["Finding", "examine"]

_MOST = 1_000
_SHOWN = 5
_OFFSET_S = 1.0


class Finding(NamedTuple):
    """Something that was found; `severity` is "error" or "warning"."""

    check: str
    severity: str
    about: str
    message: str


class _Patient(NamedTuple):
    """What is examined."""

    terminal: Terminal
    it: Desk
    stuck_after: timedelta


Check = Callable[[_Patient], Iterator[Finding]]


def examine(context: typer.Context, where: Where, stuck_after: str, *, as_json: bool) -> None:
    """Print what is wrong, and exit with 10 for warnings, 11 for errors."""
    terminal = terminal_of(context)
    limit = duration_of(stuck_after)
    found = list(_schema(where))
    checked = ["schema"] if where.url is None else []
    if not any(each.severity == "error" and each.about == "tables" for each in found):
        with desk(where, terminal.clock) as it:
            for name, check in _CHECKS.items():
                checked.append(name)
                found += check(_Patient(terminal, it, limit))
    code = max((_CODES[each.severity] for each in found), default=0)
    if as_json:
        status = {0: "healthy", NOTABLE: "warnings", BROKEN: "errors"}[code]
        findings = [each._asdict() for each in found]
        terminal.json({"status": status, "checked": checked, "findings": findings})
    else:
        _print(terminal, checked, found)
    if code:
        raise typer.Exit(code)


_CODES = {"warning": NOTABLE, "error": BROKEN}


def _schema(where: Where) -> Iterator[Finding]:
    if not where.store or where.url is not None:
        return
    from tickwork.wiring import build_store

    store = sql_store(build_store(where.store))
    if store is None:
        return
    from tickwork.stores.sql.checking import schema_state

    state = schema_state(store)
    if state.version != state.head:
        message = f"are of version {state.version or 'none'}, this tickwork knows {state.head}"
        yield Finding("schema", "error", "tables", message)
    for names, what in ((state.missing_tables, "table"), (state.missing_columns, "column")):
        for name in names:
            yield Finding("schema", "error", "tables", f"have no {what} {name}")
    for name in state.missing_indexes:
        yield Finding("schema", "warning", name, "is an index that is missing; it will be slow")


def _overdue(patient: _Patient) -> Iterator[Finding]:
    now = patient.terminal.now
    found, _ = gathered(partial(patient.it.ask.list_tasks, TaskFilter(late=True)), _MOST)
    for task in found:
        if task.next_run_time is not None:
            late = relative_text(task.next_run_time, now)
            yield Finding("overdue", "error", task.id, f"should have fired {late}")


def _running(patient: _Patient) -> list[RunSummary]:
    filters = RunFilter(status=[RunState.RUNNING])
    return gathered(partial(patient.it.ask.list_runs, filters), _MOST)[0]


def _stuck(patient: _Patient) -> Iterator[Finding]:
    now = patient.terminal.now
    for run in _running(patient):
        if run.started_at is not None and now - run.started_at > patient.stuck_after:
            took = duration_text(now - run.started_at)
            message = f"{run.task_id} has been running for {took}"
            yield Finding("stuck", "warning", run.id, message)


def _orphaned(patient: _Patient) -> Iterator[Finding]:
    now = patient.terminal.now
    alive = {node.id for node in patient.it.ask.list_nodes() if node.expires_at > now}
    for run in _running(patient):
        if run.node is not None and run.node not in alive:
            message = f"{run.task_id} is running on {run.node}, which is dead"
            yield Finding("orphaned", "warning" if alive else "error", run.id, message)


def _tasks(patient: _Patient) -> Iterator[Finding]:
    found, _ = gathered(partial(patient.it.ask.list_tasks, TaskFilter()), 100_000)
    for task in found:
        if task.problem is None:
            continue
        check = "functions" if task.callable_reference else "unreadable"
        yield Finding(check, "error", task.id, task.problem)


def _clocks(patient: _Patient) -> Iterator[Finding]:
    now = patient.terminal.now
    for node in patient.it.ask.list_nodes():
        if node.expires_at > now and abs(node.clock_offset) >= _OFFSET_S:
            message = f"its clock is {seconds_text(abs(node.clock_offset))} off the store's"
            yield Finding("clocks", "warning", node.id, message)


def _nodes(patient: _Patient) -> Iterator[Finding]:
    now = patient.terminal.now
    nodes = patient.it.ask.list_nodes()
    if not any(node.expires_at > now for node in nodes):
        there = patient.it.ask.count_tasks(TaskFilter(state="scheduled"))
        if there:
            message = f"no scheduler works on it, and it has {there:,} scheduled tasks"
            yield Finding("nodes", "warning", patient.it.where, message)


_CHECKS: dict[str, Check] = {
    "nodes": _nodes,
    "overdue": _overdue,
    "stuck": _stuck,
    "orphaned": _orphaned,
    "functions": _tasks,
    "clocks": _clocks,
}


def _print(terminal: Terminal, checked: list[str], found: list[Finding]) -> None:
    from rich.text import Text

    if not found:
        terminal.say(f"Healthy: {', '.join(checked)}.")
        return
    styles = {"error": "red", "warning": "yellow"}
    for check in dict.fromkeys(each.check for each in found):
        these = [each for each in found if each.check == check]
        for each in these[:_SHOWN]:
            label = (f"{each.severity:<8}", styles[each.severity])
            terminal.say(Text.assemble(label, f"{check:<11}{each.about}: {each.message}"))
        if len(these) > _SHOWN:
            terminal.say(f"{'':<19}and {len(these) - _SHOWN:,} more; --json has them all")
