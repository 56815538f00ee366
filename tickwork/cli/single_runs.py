"""`tickwork show-run`, `log`, `progress` and `cancel`."""

from collections.abc import Iterator
from typing import Any

import typer

from tickwork.cli.desk import asked, desk, said
from tickwork.cli.moments import seconds_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import STATUS_STYLES, Terminal, shortened, terminal_of
from tickwork.model.json_text import to_text
from tickwork.model.policies import TERMINAL
from tickwork.model.snapshots import RunInfo
from tickwork.service.models import Cancel

__all__ = ["cancel_run", "progress_text", "show_log", "show_progress", "show_run"]


def show_run(context: typer.Context, where: Where, run_id: str, *, as_json: bool) -> None:
    """Print a run with its errors."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        run = it.ask.get_run(run_id)
    if as_json:
        terminal.model(run)
    else:
        _print_run(terminal, run)


def show_log(context: typer.Context, where: Where, run_id: str, *, as_json: bool) -> None:
    """Print the last lines that a run has logged."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        log = it.ask.get_log(run_id)
    if as_json:
        terminal.model(log)
    elif log.lines:
        terminal.say(*log.lines)
    else:
        terminal.say(f"Run {run_id} has logged nothing{'' if log.over else ' yet'}.")


def show_progress(context: typer.Context, where: Where, run_id: str, *, as_json: bool) -> None:
    """Print how far a run says it is."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        told = it.ask.get_progress(run_id)
    if as_json:
        terminal.model(told)
        return
    how_far = progress_text(told.progress) or "it doesn't say how far"
    terminal.say(f"Run {run_id} is {told.status.value}: {how_far}.")


def cancel_run(
    context: typer.Context, where: Where, run_id: str, reason: str | None, *, as_json: bool
) -> None:
    """End a run."""
    terminal = terminal_of(context)
    wanted = asked(Cancel, **said(reason=reason))
    with desk(where, terminal.clock) as it:
        run = it.ask.cancel_run(run_id, reason=wanted.reason)
    if as_json:
        terminal.model(run)
    elif run.status in TERMINAL:
        terminal.say(f"Run {run_id} is {run.status.value}.")
    else:
        terminal.say(f"Run {run_id} was asked to end; its node does that in a moment.")


def progress_text(progress: dict[str, Any] | None) -> str:
    """Return how far a run is, for people: "30 of 120 (25 %), sending"."""
    if not progress:
        return ""
    percent = "" if progress.get("percent") is None else f"{progress['percent']:.0f} %"
    counted = f"{progress['done']:,} of {progress['total']:,}" if "total" in progress else ""
    said = f"{counted} ({percent})" if counted and percent else counted or percent
    return ", ".join(filter(None, [said, progress.get("message")]))


def _print_run(terminal: Terminal, run: RunInfo) -> None:
    from rich.text import Text

    lines = [Text(run.id, "bold")]
    for name, value in _details(terminal, run):
        lines.append(Text.assemble(f"  {name:<12}", (value, STATUS_STYLES.get(value, ""))))
    terminal.say(*lines)
    for number, error in enumerate(run.errors, 1):
        attempt = error.get("attempt", number)
        terminal.say("", f"Attempt {attempt}: {error.get('type')}: {error.get('message')}")
        if error.get("traceback"):
            terminal.say(str(error["traceback"]).rstrip())


def _details(terminal: Terminal, run: RunInfo) -> Iterator[tuple[str, str]]:
    yield "task", run.task_id
    yield "status", run.status.value
    if run.reason:
        yield "because", run.reason
    yield "source", run.source.value
    if run.fire_time is not None:
        yield "fire time", terminal.moment(run.fire_time)
    if run.fire_count > 1:
        yield "fires", f"{'' if run.fire_count_exact else '>= '}{run.fire_count:,}"
    for name, moment in (
        ("created", run.created_at),
        ("started", run.started_at),
        ("completed", run.completed_at),
    ):
        if moment is not None:
            yield name, terminal.moment(moment)
    if run.lateness is not None:
        yield "late", seconds_text(run.lateness)
    if run.attempt:
        yield "attempt", str(run.attempt)
    if run.node:
        yield "node", run.node
    if run.progress:
        yield "progress", progress_text(run.progress)
    if run.waits_for:
        yield "waits for", run.waits_for
    if run.retry_of:
        yield "retry of", run.retry_of
    if run.result is not None:
        yield "result", shortened(to_text(run.model_dump(mode="json")["result"]))
