"""`tickwork tasks` and `tickwork runs`."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import typer

from tickwork.cli.client import Client, connected
from tickwork.cli.moments import moment_text, relative_text, seconds_text
from tickwork.cli.terminal import Column, Terminal, terminal_of
from tickwork.model.policies import TERMINAL, RunState, ScheduleState
from tickwork.model.snapshots import RunInfo, TaskInfo

__all__ = ["TaskFilters", "list_runs", "list_tasks", "print_runs"]

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


class TaskFilters(NamedTuple):
    """Which tasks to list; None means any."""

    state: ScheduleState | None = None
    tag: str | None = None
    search: str | None = None


def list_tasks(
    context: typer.Context,
    store: str | None,
    filters: TaskFilters,
    *,
    sort: str,
    limit: int,
    as_json: bool,
) -> None:
    """Print the tasks of a store."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        wanted = {**filters._asdict(), "sort": sort, "limit": limit + 1}
        found = client.scheduler.get_tasks(**wanted)
        if as_json:
            terminal.json([task.model_dump(mode="json") for task in found[:limit]])
        elif not found:
            terminal.say(_no_tasks(client))
        else:
            terminal.table(_TASK_COLUMNS, [_task_row(terminal, task) for task in found[:limit]])
            _say_more(terminal, len(found), limit, "tasks")


def list_runs(
    context: typer.Context,
    store: str | None,
    task: str | None,
    status: Sequence[RunState],
    *,
    limit: int,
    as_json: bool,
) -> None:
    """Print the newest runs of a store."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        found = client.scheduler.get_runs(task=task, status=status or None, limit=limit + 1)
        if task is not None and not found:
            # Histories outlive their tasks; only an id that never had a run is worth an error.
            client.scheduler.get_task(task)
        if as_json:
            terminal.json([run.model_dump(mode="json") for run in found[:limit]])
        elif not found:
            terminal.say(_no_runs(client, task, filtered=bool(status)))
        else:
            print_runs(terminal, found[:limit])
            _say_more(terminal, len(found), limit, "runs")


def print_runs(terminal: Terminal, runs: Iterable[RunInfo]) -> None:
    """Print runs as a table."""
    terminal.table(_RUN_COLUMNS, [_run_row(terminal, run) for run in runs])


def _task_row(terminal: Terminal, task: TaskInfo) -> list[str]:
    return [
        task.id,
        task.schedule_state.value,
        *_when(terminal, task.next_run_time),
        task.trigger_description or "-",
        ", ".join(task.tags),
        task.problem or task.paused_reason or "",
    ]


def _run_row(terminal: Terminal, run: RunInfo) -> list[str]:
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


def _why(terminal: Terminal, run: RunInfo) -> str:
    if run.error:
        text = f"{run.error.get('type')}: {run.error.get('message')}"
    elif run.reason:
        text = run.reason
    elif run.fire_count > 1 and run.first_fire_time:
        text = f"for all since {moment_text(run.first_fire_time, terminal.zone)}"
    else:
        text = ""
    return " ".join(text.split())


def _no_tasks(client: Client) -> str:
    there = sum(client.scheduler.snapshot().tasks["default"].values())
    if there:
        return f"No task in {client.where} is like that; without filters there are {there:,}."
    return (
        f"No tasks in {client.where} yet. "
        "A scheduler writes those it declares when it starts: tickwork run MODULE:SCHEDULER"
    )


def _no_runs(client: Client, task: str | None, *, filtered: bool) -> str:
    what = f"Task {task}" if task is not None else client.where
    if filtered:
        return f"{what} has no runs like that."
    return f"{what} has no runs yet."


def _say_more(terminal: Terminal, found: int, limit: int, what: str) -> None:
    if found > limit:
        terminal.say(f"These are the first {limit:,} {what}; --limit shows more.")
