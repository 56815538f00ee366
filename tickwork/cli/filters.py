"""Filters and requests, out of what was said."""

from typing import Any

import typer

from tickwork.cli.desk import asked, said
from tickwork.cli.moments import moment_of
from tickwork.cli.terminal import terminal_of
from tickwork.model.policies import RunState, Source
from tickwork.service.models import BulkRequest, RunFilter, TaskFilter

__all__ = ["bulk_request", "run_filter", "task_filter"]


def task_filter(**given: Any) -> TaskFilter:
    """Return which tasks are meant."""
    return asked(TaskFilter, **said(**given))


def run_filter(  # noqa: PLR0917  what they are, and of when
    context: typer.Context,
    task: str | None,
    status: list[RunState] | None,
    source: Source | None,
    since: str | None,
    until: str | None,
    *,
    suspect: bool = False,
) -> RunFilter:
    """Return which runs are meant."""
    terminal = terminal_of(context)
    moments = {
        name: moment_of(text, terminal.now, terminal.zone)
        for name, text in (("since", since), ("until", until))
        if text is not None
    }
    words = said(task=task, status=status or None, source=source, suspect=suspect or None)
    return asked(RunFilter, **words, **moments)


def bulk_request(  # noqa: PLR0917  what to do, to which, and why
    context: typer.Context,
    action: str,
    filters: TaskFilter,
    reason: str | None,
    until: str | None,
    *,
    dry_run: bool,
) -> BulkRequest:
    """Return what is to be done to many tasks."""
    terminal = terminal_of(context)
    end = None if until is None else moment_of(until, terminal.now, terminal.zone, ahead=True)
    words = said(reason=reason, until=end)
    return asked(BulkRequest, action=action, filter=filters, dry_run=dry_run, **words)
