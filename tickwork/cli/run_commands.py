"""The commands about runs."""

from typing import Annotated

import typer

from tickwork.cli.application import app
from tickwork.cli.options import Json, Limit, RunId, Tries, Where, Yes, reaching
from tickwork.errors import InvalidInputError
from tickwork.model.policies import RunState, Source

__all__: list[str] = []

Task = Annotated[str | None, typer.Option(metavar="ID", help="only those of a task")]


@app.command()
@reaching
def runs(
    context: typer.Context,
    *,
    where: Where,
    task: Task = None,
    status: Annotated[
        list[RunState] | None, typer.Option(help="only those that are; may be repeated")
    ] = None,
    source: Annotated[Source | None, typer.Option(help="only those that came so")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="made since: a moment, or 2h ago")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="made before")] = None,
    suspect: Annotated[
        bool, typer.Option("--suspect", help="only those during which a node died")
    ] = False,
    limit: Limit = 20,
    ids: Annotated[bool, typer.Option("--ids", help="with the ids of the runs")] = False,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    from tickwork.cli.filters import run_filter
    from tickwork.cli.listing import list_runs

    filters = run_filter(context, task, status, source, since, until, suspect=suspect)
    list_runs(context, where, filters, limit, ids=ids, as_json=as_json)


@app.command("show-run")
@reaching
def show_run(context: typer.Context, *, where: Where, run_id: RunId, as_json: Json = False) -> None:
    """Show a run with its errors and its result."""
    from tickwork.cli import single_runs

    single_runs.show_run(context, where, run_id, as_json=as_json)


@app.command()
@reaching
def log(
    context: typer.Context,
    *,
    where: Where,
    run_id: RunId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="go on until the run is over, or Ctrl-C")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="seconds between two looks")] = 1.0,
    as_json: Json = False,
) -> None:
    """Show the last lines that a run has logged, and with --follow those to come."""
    from tickwork.cli.following import follow_log
    from tickwork.cli.single_runs import show_log

    if follow:
        follow_log(context, where, run_id, interval, as_json=as_json)
    else:
        show_log(context, where, run_id, as_json=as_json)


@app.command()
@reaching
def progress(context: typer.Context, *, where: Where, run_id: RunId, as_json: Json = False) -> None:
    """Show how far a run says it is."""
    from tickwork.cli.single_runs import show_progress

    show_progress(context, where, run_id, as_json=as_json)


@app.command()
@reaching
def cancel(
    context: typer.Context,
    *,
    where: Where,
    run_id: RunId,
    reason: Annotated[str | None, typer.Option(help="shown with the run")] = None,
    as_json: Json = False,
) -> None:
    """End a run, wherever it is."""
    from tickwork.cli.single_runs import cancel_run

    cancel_run(context, where, run_id, reason, as_json=as_json)


@app.command()
@reaching
def retry(
    context: typer.Context,
    *,
    where: Where,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="a run that is over")
    ] = None,
    failed_since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="all that failed since: a moment, or 2h ago"),
    ] = None,
    task: Task = None,
    dry_run: Tries = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Execute again what a run was for, or all that failed since some time."""
    from tickwork.cli.many import retry_many, retry_one

    if (run_id is None) == (failed_since is None):
        raise InvalidInputError("say one of: the id of a run, --failed-since 2h")
    if run_id is None:
        since = failed_since or ""
        retry_many(context, where, since, task, dry_run=dry_run, yes=yes, as_json=as_json)
    elif dry_run or task is not None:
        raise InvalidInputError("--dry-run and --task belong to --failed-since")
    else:
        retry_one(context, where, run_id, as_json=as_json)


@app.command()
@reaching
def prune(
    context: typer.Context,
    *,
    where: Where,
    before: Annotated[
        str, typer.Option(metavar="WHEN", help="what was over before: a moment, or 30d ago")
    ],
    dry_run: Tries = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget the history of before some time."""
    from tickwork.cli.many import prune_runs

    prune_runs(context, where, before, dry_run=dry_run, yes=yes, as_json=as_json)
