"""The commands about a store as a whole: its health, its tables, its definitions."""

from pathlib import Path
from typing import Annotated

import typer

from tickwork.cli.application import app, group
from tickwork.cli.options import Json, StoreUrl, Tries, Where, Yes, reaching

__all__: list[str] = []

File = Annotated[Path, typer.Argument(metavar="FILE", help="of YAML, as `export` writes it")]


@app.command()
@reaching
def doctor(
    context: typer.Context,
    *,
    where: Where,
    stuck_after: Annotated[
        str, typer.Option(metavar="TIME", help="how long a run may take before it is told")
    ] = "1h",
    as_json: Json = False,
) -> None:
    """Look for what is wrong, or may be soon.

    Exits with 0 where all is well, 10 where there are warnings, 11 where there are errors.
    """
    from tickwork.cli.doctor import examine

    examine(context, where, stuck_after, as_json=as_json)


db = group("db")


@db.callback()
def about_db() -> None:
    """Check, upgrade and print the tables of an SQL store."""


@db.command()
def check(context: typer.Context, *, store: StoreUrl = None, as_json: Json = False) -> None:
    """Say whether the tables are up to date.

    Exits with 10 where they are older or missing, with 11 where they are newer or damaged.
    """
    from tickwork.cli.databases import check_database

    check_database(context, store, as_json=as_json)


@db.command()
def upgrade(context: typer.Context, *, store: StoreUrl = None, as_json: Json = False) -> None:
    """Make the tables, or bring them up to date."""
    from tickwork.cli.databases import upgrade_database

    upgrade_database(context, store, as_json=as_json)


@db.command()
def sql(
    *,
    store: StoreUrl = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="VERSION", help="that the tables have")
    ] = None,
) -> None:
    """Print what an upgrade does, as SQL, without asking the database."""
    from tickwork.cli.databases import print_sql

    print_sql(store, start)


@app.command()
def export(
    context: typer.Context,
    *,
    store: StoreUrl = None,
    tag: Annotated[str | None, typer.Option(help="only those with this tag")] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="with the values whose names sound like secrets")
    ] = False,
) -> None:
    """Print the definitions of tasks as YAML."""
    from tickwork.cli.definitions import export_tasks

    export_tasks(context, store, tag, secrets=secrets)


@app.command()
def diff(
    context: typer.Context,
    *,
    file: File,
    store: StoreUrl = None,
    prune: Annotated[bool, typer.Option("--prune", help="also what the file hasn't")] = False,
    as_json: Json = False,
) -> None:
    """Show what `apply` would change; exits with 10 where there is something."""
    from tickwork.cli.definitions import diff_tasks

    diff_tasks(context, store, file, prune=prune, as_json=as_json)


@app.command()
def apply(
    context: typer.Context,
    *,
    file: File,
    store: StoreUrl = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="also remove the tasks that the file hasn't")
    ] = False,
    yes: Yes = False,
    dry_run: Tries = False,
    as_json: Json = False,
) -> None:
    """Make the tasks of a store those of a file; asks first, with what differs."""
    from tickwork.cli.definitions import apply_tasks

    apply_tasks(context, store, file, prune=prune, yes=yes, dry_run=dry_run, as_json=as_json)
