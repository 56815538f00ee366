"""The commands that show what happens in time."""

from typing import Annotated

import typer

from tickwork.cli.application import app
from tickwork.cli.options import Json, Limit, Where, reaching

__all__: list[str] = []


@app.command()
@reaching
def top(
    context: typer.Context,
    *,
    where: Where,
    interval: Annotated[float, typer.Option(min=0.2, help="seconds between two looks")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="one look only")] = False,
    as_json: Json = False,
) -> None:
    """Watch nodes, runs under way, what is due and what failed; q ends it."""
    from tickwork.cli.watching import watch

    watch(context, where, interval, once=once, as_json=as_json)


@app.command()
@reaching
def timeline(
    context: typer.Context,
    *,
    where: Where,
    task: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="only these; may be repeated")
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.01, max=8_760, help="that are shown of past and future")
    ] = 12.0,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Show what tasks did and will do, as a line for each."""
    from tickwork.cli.timeline import show_timeline

    show_timeline(context, where, task or [], hours, limit, as_json=as_json)
