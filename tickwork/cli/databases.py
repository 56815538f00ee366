"""`tickwork db`: the tables of an SQL store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from tickwork.cli.failures import BROKEN, NOTABLE
from tickwork.cli.terminal import terminal_of
from tickwork.errors import InvalidInputError
from tickwork.wiring import build_store

if TYPE_CHECKING:
    from tickwork.interfaces import Store
    from tickwork.stores.sql.checking import SchemaState
    from tickwork.stores.sql.store import SQLStore

__all__ = ["check_database", "print_sql", "sql_store", "state_data", "upgrade_database"]

_NONE = "{kind} stores have no tables: their layout needs no upgrades, and is made at first use"


def check_database(context: typer.Context, url: str | None, *, as_json: bool) -> None:
    """Say whether the tables are up to date; exits with 10 or 11 where they aren't."""
    from tickwork.stores.sql.checking import schema_state

    terminal = terminal_of(context)
    kept = _store(url)
    store = sql_store(kept)
    if store is None:
        said = _NONE.format(kind=kept.kind)
        terminal.json({"kind": kept.kind}) if as_json else terminal.say(f"{said}.")
        return
    state = schema_state(store)
    if as_json:
        terminal.json({"kind": kept.kind, **state_data(state)})
    else:
        terminal.say(*_words(state))
    if not state.is_current:
        raise typer.Exit(NOTABLE if state.version is None or state.version < state.head else BROKEN)


def upgrade_database(context: typer.Context, url: str | None, *, as_json: bool) -> None:
    """Make the tables, or bring them up to date."""
    from tickwork.errors import NotFoundError
    from tickwork.stores.sql.checking import schema_state, upgrade_schema

    terminal = terminal_of(context)
    kept = _store(url)
    store = sql_store(kept)
    if store is None:
        said = _NONE.format(kind=kept.kind)
        terminal.json({"kind": kept.kind}) if as_json else terminal.say(f"{said}.")
        return
    try:
        before = schema_state(store).version
    except NotFoundError:  # a file that is yet to be made
        before = None
    upgrade_schema(store)
    after = schema_state(store).version
    if as_json:
        terminal.json({"kind": kept.kind, "before": before, "after": after})
    elif before == after:
        terminal.say(f"The tables are up to date, at version {after}.")
    else:
        terminal.say(f"The tables are at version {after} now; before, {before or 'none'}.")


def print_sql(url: str | None, start: str | None) -> None:
    """Print what an upgrade would do, as SQL; no database is asked."""
    from tickwork.stores.sql.checking import migration_sql

    kept = _store(url)
    store = sql_store(kept)
    if store is None:
        raise InvalidInputError(_NONE.format(kind=kept.kind))
    sys.stdout.write(migration_sql(store, start))


def sql_store(store: Store) -> SQLStore | None:
    """Return a store as one with tables, or None."""
    if store.kind != "sqlalchemy":
        return None
    from tickwork.stores.sql.store import SQLStore

    return store if isinstance(store, SQLStore) else None


def state_data(state: SchemaState) -> dict[str, object]:
    """Return what a database has, as data."""
    return {
        "version": state.version,
        "newest": state.head,
        "up_to_date": state.is_current,
        "missing_tables": list(state.missing_tables),
        "missing_columns": list(state.missing_columns),
        "missing_indexes": list(state.missing_indexes),
    }


def _store(url: str | None) -> Store:
    if not url:
        raise InvalidInputError(
            "which store? Say --store sqlite:///tasks.db, or set TICKWORK_STORE"
        )
    return build_store(url)


def _words(state: SchemaState) -> list[str]:
    if state.is_current:
        return [f"The tables are up to date, at version {state.version}."]
    if state.version is None:
        return [f"There are no tables; tickwork db upgrade makes them (version {state.head})."]
    if state.version > state.head:
        return [f"The tables are of version {state.version}, newer than {state.head}: update here."]
    if state.version < state.head:
        return [f"The tables are of version {state.version}; tickwork db upgrade: to {state.head}."]
    found = (
        ("table", state.missing_tables),
        ("column", state.missing_columns),
        ("index", state.missing_indexes),
    )
    return [f"Missing {what}: {name}" for what, names in found for name in names]
