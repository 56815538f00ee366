"""`tickwork tasks` and `tickwork runs`."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial

import typer

from tickwork.cli.desk import Desk, desk, gathered
from tickwork.cli.moments import moment_text, relative_text, seconds_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import Column, Terminal, terminal_of
from tickwork.model.policies import TERMINAL
from tickwork.service.models import RunFilter, RunSummary, TaskFilter, TaskView

__all__ = ["list_runs", "list_tasks", "print_runs"]

_TASK_COLUMNS = (
    Column("ID", least=20, fold=True),
    Column("STATE"),
    Column("NEXT FIRE"),
    Column("FROM NOW", rank=1),
    Column("SCHEDULE", rank=3, least=16),
    Column("TAGS", rank=4, least=8),
    Column("NOTE", rank=2, least=16),
)
_RUN_COLUMNS = (
    Column("WHEN"),
    Column("FROM NOW", rank=4),
    Column("TASK", least=16, fold=True),
    Column("STATUS"),
    Column("SOURCE", rank=6),
    Column("FIRES", rank=3, right=True),
    Column("LATE", rank=5, right=True),
    Column("TOOK", rank=2, right=True),
    Column("WHY", rank=1, least=20),
)
_RUN_ID = Column("RUN")


def list_tasks(  # noqa: PLR0917  where, what and how
    context: typer.Context,
    where: Where,
    filters: TaskFilter,
    sort: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print tasks."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock, hide=False) as it:
        found, more = gathered(partial(it.ask.list_tasks, filters, sort=sort), limit)
        if as_json:
            terminal.models(found)
        elif not found:
            terminal.say(_no_tasks(it))
        else:
            terminal.table(_TASK_COLUMNS, [_task_row(terminal, task) for task in found])
            _say_more(terminal, limit, "tasks", more=more)


def list_runs(
    context: typer.Context,
    where: Where,
    filters: RunFilter,
    limit: int,
    *,
    ids: bool,
    as_json: bool,
) -> None:
    """Print the newest runs."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        found, more = gathered(partial(it.ask.list_runs, filters), limit)
        if filters.task is not None and not found:
            # Histories outlive their tasks; only an id that never had a run is worth an error.
            it.ask.get_task(filters.task)
        if as_json:
            terminal.models(found)
        elif not found:
            terminal.say(_no_runs(it, filters))
        else:
            print_runs(terminal, found, ids=ids)
            _say_more(terminal, limit, "runs", more=more)


def print_runs(terminal: Terminal, runs: Iterable[RunSummary], *, ids: bool = False) -> None:
    """Print runs as a table."""
    columns = (_RUN_ID, *_RUN_COLUMNS) if ids else _RUN_COLUMNS
    rows = [[run.id, *_run_row(terminal, run)][not ids :] for run in runs]
    terminal.table(columns, rows)


def _task_row(terminal: Terminal, task: TaskView) -> list[str]:
    return [
        task.id,
        task.schedule_state.value,
        *_when(terminal, task.next_run_time),
        task.trigger_description or "-",
        ", ".join(task.tags),
        task.problem or task.paused_reason or "",
    ]


def _run_row(terminal: Terminal, run: RunSummary) -> list[str]:
    took = "-"
    if run.started_at and run.completed_at:
        took = seconds_text((run.completed_at - run.started_at).total_seconds())
    fires = f"{'' if run.fire_count_exact else '>= '}{run.fire_count:,}" if run.fire_time else "-"
    return [
        *_when(terminal, run.started_at or run.created_at),
        run.task_id,
        run.status.value,
        run.source.value,
        fires,
        "-" if run.lateness is None else seconds_text(run.lateness),
        took if run.status in TERMINAL else "-",
        _why(terminal, run),
    ]


def _when(terminal: Terminal, moment: datetime | None) -> tuple[str, str]:
    if moment is None:
        return "-", ""
    return moment_text(moment, terminal.zone), relative_text(moment, terminal.now)


def _why(terminal: Terminal, run: RunSummary) -> str:
    if run.error_type:
        text = f"{run.error_type}: {run.error_message}"
    elif run.reason:
        text = run.reason
    elif run.fire_count > 1 and run.first_fire_time:
        text = f"for all since {moment_text(run.first_fire_time, terminal.zone)}"
    else:
        text = ""
    return " ".join(text.split())


def _no_tasks(it: Desk) -> str:
    there = it.ask.count_tasks()
    if there:
        return f"No task in {it.where} is like that; without filters there are {there:,}."
    return (
        f"No tasks in {it.where} yet. "
        "A scheduler writes those it declares when it starts: tickwork run MODULE:SCHEDULER"
    )


def _no_runs(it: Desk, filters: RunFilter) -> str:
    what = f"Task {filters.task}" if filters.task is not None else it.where
    if filters.model_fields_set - {"task"}:
        return f"{what} has no runs like that."
    return f"{what} has no runs yet."


def _say_more(terminal: Terminal, limit: int, what: str, *, more: bool) -> None:
    if more:
        terminal.say(f"These are the first {limit:,} {what}; --limit shows more.")
