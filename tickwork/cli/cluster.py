"""`tickwork nodes`, `stores`, `executors`, `locks`, `functions` and `audit`."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import typer
from pydantic import BaseModel

from tickwork.cli.desk import desk, gathered
from tickwork.cli.moments import moment_text, relative_text, seconds_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import Column, Terminal, terminal_of
from tickwork.errors import InvalidInputError
from tickwork.service.roles import Action

__all__ = [
    "list_audit",
    "list_executors",
    "list_functions",
    "list_locks",
    "list_nodes",
    "list_stores",
]

_NODES = (
    Column("NODE"),
    Column("STATE"),
    Column("HOST", rank=1),
    Column("PID", rank=3, right=True),
    Column("STARTED", rank=4),
    Column("BEAT", rank=2),
    Column("CLOCK", rank=5, right=True),
    Column("EXECUTORS", rank=6, least=16),
)
_STORES = (Column("STORE"), Column("KIND"), Column("KEPT"), Column("TASKS"))
_EXECUTORS = (Column("EXECUTOR"), Column("KIND"), Column("NODES", least=16, fold=True))
_LOCKS = (
    Column("NAME", least=16, fold=True),
    Column("KIND"),
    Column("HELD"),
    Column("BY", least=12),
    Column("UNTIL", rank=1),
    Column("FENCE", rank=2, right=True),
)
_FUNCTIONS = (Column("FUNCTION", least=20, fold=True), Column("FROM"))
_AUDIT = (
    Column("WHEN"),
    Column("WHO"),
    Column("VIA", rank=2),
    Column("FROM", rank=3),
    Column("ACTION"),
    Column("TARGET", least=16, fold=True),
    Column("OUTCOME"),
    Column("ERROR", rank=1, least=16),
)


def list_nodes(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print the started schedulers, also dead ones."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        # Each scheduler has a store of its own besides, for tasks of this process.
        nodes = [node for node in it.ask.list_nodes() if node.store != "local"]
    now = terminal.now
    rows = [
        [
            node.id,
            "alive" if node.expires_at > now else "dead",
            node.host,
            str(node.pid),
            relative_text(node.started_at, now),
            relative_text(node.last_beat_at, now),
            seconds_text(node.clock_offset),
            ", ".join(node.executors),
        ]
        for node in nodes
    ]
    _print(terminal, nodes, _NODES, rows, "No scheduler works here.", as_json=as_json)


def list_stores(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print the stores, with their tasks by state."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        stores = it.names(it.ask.list_stores())
    rows = [
        [
            each.name,
            each.kind,
            "for good" if each.persistent else "in memory",
            ", ".join(f"{n:,} {state.value}" for state, n in each.tasks.items() if n) or "none",
        ]
        for each in stores
    ]
    _print(terminal, stores, _STORES, rows, "No stores.", as_json=as_json)


def list_executors(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print the executors of the nodes."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        executors = it.ask.list_executors()
        if it.connection is not None:
            # Those of this process, which executes nothing, are of no interest.
            executors = [each for each in executors if each.nodes]
    rows = [[each.name, each.kind or "-", ", ".join(each.nodes) or "-"] for each in executors]
    nothing = "No scheduler works here, so there are no executors."
    _print(terminal, executors, _EXECUTORS, rows, nothing, as_json=as_json)


def list_locks(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print locks and leaderships."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        locks = it.ask.list_locks()
    rows = [
        [
            each.name,
            each.kind,
            "yes" if each.held else "no",
            each.owner or "-",
            terminal.moment(each.expires_at) if each.held else "-",
            str(each.fence),
        ]
        for each in locks
    ]
    _print(terminal, locks, _LOCKS, rows, "No locks and no leaders.", as_json=as_json)


def list_functions(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print the functions that a service lets tasks be made of."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        functions = it.ask.list_functions()
    rows = [[e.reference, "application" if e.registered else "setting"] for e in functions]
    nothing = (
        "None are declared or allowed there."
        if where.url
        else "A store is worked on from here: any function that can be imported here."
    )
    _print(terminal, functions, _FUNCTIONS, rows, nothing, as_json=as_json)


def list_audit(  # noqa: PLR0917  where, what and how
    context: typer.Context,
    where: Where,
    actor: str | None,
    action: str | None,
    target: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print who did what, the newest first."""
    terminal = terminal_of(context)
    wanted = None if action is None else _action(action)
    with desk(where, terminal.clock) as it:
        ask = partial(it.ask.list_audit, actor=actor, action=wanted, target=target)
        entries, _ = gathered(ask, limit)
    rows = [
        [
            _when(terminal, each.at),
            each.actor,
            each.via.value,
            each.address,
            each.action.value,
            each.target,
            each.outcome.value,
            each.error or "",
        ]
        for each in entries
    ]
    _print(terminal, entries, _AUDIT, rows, "Nothing was done.", as_json=as_json)


def _action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is no action; say one of {', '.join(Action)}") from error


def _when(terminal: Terminal, moment: datetime) -> str:
    return moment_text(moment, terminal.zone)


def _print(  # noqa: PLR0917  what, and how it looks
    terminal: Terminal,
    found: Sequence[BaseModel],
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    nothing: str,
    *,
    as_json: bool,
) -> None:
    if as_json:
        terminal.models(found)
    elif not found:
        terminal.say(nothing)
    else:
        terminal.table(columns, rows)
