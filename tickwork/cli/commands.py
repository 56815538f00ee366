"""The commands and their options; what they do stands in modules that are imported when called."""

from typing import Annotated

import typer

from tickwork.cli.failures import ReportingGroup
from tickwork.model.policies import RunState, ScheduleState
from tickwork.version import __version__

__all__ = ["app"]

app = typer.Typer(
    cls=ReportingGroup,
    help="A persistent scheduler: look at its tasks and runs, change them, run it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", envvar="TICKWORK_STORE", help="such as sqlite:///tasks.db"
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]
_TaskId = Annotated[str, typer.Argument(metavar="ID", help="of the task, as `tasks` lists it")]


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer passes it so
    if wanted:
        typer.echo(f"tickwork {__version__}")
        raise typer.Exit


@app.callback()
def tickwork(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print it")
    ] = False,
) -> None:
    """Look at a persistent scheduler's tasks and runs, change them, run it."""


@app.command()
def run(
    context: typer.Context,
    *,
    target: Annotated[str, typer.Argument(metavar="MODULE:SCHEDULER", help="such as app:jobs")],
    seconds: Annotated[
        float | None, typer.Option(min=0, help="end by itself after so long")
    ] = None,
    stop_timeout: Annotated[
        float, typer.Option(min=0, help="seconds for what is under way when it is to stop")
    ] = 30.0,
    as_json: _Json = False,
) -> None:
    """Run a scheduler until SIGINT or SIGTERM.

    One line tells of each run; with --json, one JSON object of each event. A second signal doesn't
    wait for what is under way.
    """
    from tickwork.cli.running import run_scheduler

    run_scheduler(context, target, seconds=seconds, stop_timeout=stop_timeout, as_json=as_json)


@app.command()
def tasks(
    context: typer.Context,
    *,
    store: _Store = None,
    state: Annotated[ScheduleState | None, typer.Option(help="only those that are")] = None,
    tag: Annotated[str | None, typer.Option(help="only those with this tag")] = None,
    search: Annotated[str | None, typer.Option(help="part of an id or a name")] = None,
    sort: Annotated[
        str, typer.Option(help="id, name, next_run_time or created_at; - in front: descending")
    ] = "next_run_time",
    limit: Annotated[int, typer.Option(min=1, help="how many at most")] = 100,
    as_json: _Json = False,
) -> None:
    """List tasks."""
    from tickwork.cli.listing import TaskFilters, list_tasks

    filters = TaskFilters(state, tag, search)
    list_tasks(context, store, filters, sort=sort, limit=limit, as_json=as_json)


@app.command()
def show(
    context: typer.Context, *, task_id: _TaskId, store: _Store = None, as_json: _Json = False
) -> None:
    """Show a task, its next fires and last runs."""
    from tickwork.cli.showing import show_task

    show_task(context, store, task_id, as_json=as_json)


@app.command()
def runs(
    context: typer.Context,
    *,
    store: _Store = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="only those of a task")] = None,
    status: Annotated[
        list[RunState] | None, typer.Option(help="only those that are; may be repeated")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many at most")] = 20,
    as_json: _Json = False,
) -> None:
    """List runs, newest first."""
    from tickwork.cli.listing import list_runs

    list_runs(context, store, task, status or [], limit=limit, as_json=as_json)


@app.command()
def preview(
    context: typer.Context,
    *,
    schedule: Annotated[
        str, typer.Argument(help='"0 8 * * mon-fri", "@daily", "5m", "2026-12-24 18:00"')
    ],
    timezone: Annotated[
        str, typer.Option(help="where clocks are read, such as Europe/Berlin")
    ] = "UTC",
    count: Annotated[int, typer.Option(min=1, help="how many fire times")] = 5,
    as_json: _Json = False,
) -> None:
    """Show when a schedule would fire.

    SCHEDULE is a cron expression, an interval or a moment; an interval is counted from now.
    """
    from tickwork.cli.previewing import preview_schedule

    preview_schedule(context, schedule, timezone, count=count, as_json=as_json)


@app.command()
def pause(
    context: typer.Context,
    *,
    task_id: _TaskId,
    store: _Store = None,
    reason: Annotated[str | None, typer.Option(help="shown with the task")] = None,
    as_json: _Json = False,
) -> None:
    """Stop planning a task.

    Runs planned before go on.
    """
    from tickwork.cli.changing import pause_task

    pause_task(context, store, task_id, reason, as_json=as_json)


@app.command()
def resume(
    context: typer.Context, *, task_id: _TaskId, store: _Store = None, as_json: _Json = False
) -> None:
    """Go on with a paused task.

    The fire times that it skipped are recorded as one range.
    """
    from tickwork.cli.changing import resume_task

    resume_task(context, store, task_id, as_json=as_json)


@app.command()
def trigger(
    context: typer.Context, *, task_id: _TaskId, store: _Store = None, as_json: _Json = False
) -> None:
    """Execute a task now, beside its schedule.

    A running scheduler that works on the store does it; without one, the run waits.
    """
    from tickwork.cli.changing import trigger_task

    trigger_task(context, store, task_id, as_json=as_json)


@app.command()
def remove(
    context: typer.Context, *, task_id: _TaskId, store: _Store = None, as_json: _Json = False
) -> None:
    """Remove a task.

    Its pending runs are cancelled; its history stays.
    """
    from tickwork.cli.changing import remove_task

    remove_task(context, store, task_id, as_json=as_json)
