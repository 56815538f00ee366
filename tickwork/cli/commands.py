"""The commands and their options; what they do stands in modules that are imported when called."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from tickwork.cli import (
    live_commands,
    run_commands,
    service_commands,
    service_options,
    store_commands,
    task_commands,
)
from tickwork.cli.application import app
from tickwork.cli.options import Json

__all__ = [
    "app",
    "live_commands",
    "run_commands",
    "service_commands",
    "store_commands",
    "task_commands",
]


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


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
    log_format: Annotated[
        LogFormat, typer.Option(help="how log lines look; as JSON those of runs are shown, too")
    ] = LogFormat.TEXT,
    as_json: Json = False,
) -> None:
    """Run a scheduler until SIGINT or SIGTERM.

    One line tells of each run; with --json, one JSON object of each event. A second signal doesn't
    wait for what is under way.
    """
    from tickwork.cli.running import run_scheduler

    run_scheduler(
        context,
        target,
        seconds=seconds,
        stop_timeout=stop_timeout,
        as_json=as_json,
        json_logs=log_format is LogFormat.JSON,
    )


@app.command()
def serve(
    context: typer.Context,
    *,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:SCHEDULER]", help="such as app:jobs; none: one of its own"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="URL", help="of its own scheduler; an SQLite file"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="address to listen at; 127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="port to listen at; 8642, 0: a free one")
    ] = None,
    auth: Annotated[
        str | None, typer.Option(metavar="none|password", help="whether people log in")
    ] = None,
    viewer: Annotated[
        bool | None,
        typer.Option("--viewer", help="only look at a store that others work on"),
    ] = None,
    fire: Annotated[
        bool | None, typer.Option("--fire/--no-fire", help="execute tasks, or leave that to others")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="under which a proxy shows it")
    ] = None,
    allowed_hosts: service_options.AllowedHosts = None,
    session_ttl: service_options.SessionTtl = None,
    session_idle: service_options.SessionIdle = None,
    login_attempts: service_options.LoginAttempts = None,
    login_window: service_options.LoginWindow = None,
    max_body: service_options.MaxBody = None,
    hide: service_options.Hide = None,
    allow: service_options.Allow = None,
    metrics: service_options.Metrics = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="how log lines look; text")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="end by itself after so long")
    ] = None,
    stop_timeout: Annotated[
        float, typer.Option(min=0, help="seconds for what is under way when it is to stop")
    ] = 30.0,
) -> None:
    """Run a scheduler with its REST interface and pages, until SIGINT or SIGTERM.

    All settings may also stand in the environment (TICKWORK_PORT) and in tickwork.toml.
    """
    from tickwork.cli.serving import serve_scheduler

    flags: dict[str, Any] = {
        "store": store,
        "host": host,
        "port": port,
        "auth": auth,
        "viewer": viewer,
    }
    flags |= {"fire": fire, "root_path": root_path, "log_format": log_format, "metrics": metrics}
    flags |= {"allowed_hosts": allowed_hosts, "hide": hide, "allow": allow, "max_body": max_body}
    flags |= {"session_ttl": session_ttl, "session_idle": session_idle}
    flags |= {"login_attempts": login_attempts, "login_window": login_window}
    serve_scheduler(context, target, flags, seconds=seconds, stop_timeout=stop_timeout)


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
    as_json: Json = False,
) -> None:
    """Show when a schedule would fire.

    SCHEDULE is a cron expression, an interval or a moment; an interval is counted from now.
    """
    from tickwork.cli.previewing import preview_schedule

    preview_schedule(context, schedule, timezone, count=count, as_json=as_json)
