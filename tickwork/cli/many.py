"""`tickwork bulk`, `retry` and `prune`: first counted, then done."""

from collections.abc import Sequence

import typer

from tickwork.cli.desk import asked, confirm, desk, said
from tickwork.cli.moments import moment_of, moment_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.errors import InvalidInputError
from tickwork.service.models import (
    BulkRequest,
    BulkResult,
    PruneRequest,
    RetryRequest,
    RunFilter,
    TaskFilter,
)

__all__ = ["change_many", "prune_runs", "retry_many", "retry_one"]

_SHOWN = 5


def change_many(
    context: typer.Context,
    where: Where,
    request: BulkRequest,
    *,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Do something to all tasks that a filter finds."""
    terminal = terminal_of(context)
    if request.filter == TaskFilter() and not everything:
        raise InvalidInputError("which tasks? Say a filter such as --tag mail, or --all")
    with desk(where, terminal.clock) as it:
        counted = it.ask.bulk_tasks(request.model_copy(update={"dry_run": True}))
        if request.dry_run or not counted.count:
            _tell(terminal, counted, "tasks", as_json=as_json)
            return
        if not as_json:
            _tell(terminal, counted, "tasks", as_json=False)
        confirm(f"{request.action.capitalize()} {_counted(counted.count, 'task')}?", yes=yes)
        expected = {"expected_count": counted.count}
        done = it.ask.bulk_tasks(request.model_copy(update=expected))
        _tell(terminal, done, "tasks", as_json=as_json)


def retry_one(context: typer.Context, where: Where, run_id: str, *, as_json: bool) -> None:
    """Execute again what a run was for."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        run = it.ask.retry_run(run_id)
        if as_json:
            terminal.model(run)
        else:
            terminal.say(f"{run.task_id} will be executed again, as run {run.id}.")


def retry_many(
    context: typer.Context,
    where: Where,
    since: str,
    task: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Execute again what failed since an instant."""
    terminal = terminal_of(context)
    start = moment_of(since, terminal.now, terminal.zone)
    filters = asked(RunFilter, **said(task=task, since=start))
    with desk(where, terminal.clock) as it:
        counted = it.ask.retry_runs(RetryRequest(filter=filters))
        if not as_json or dry_run or not counted.count:
            _tell(terminal, counted, "failed runs", as_json=as_json)
        if dry_run or not counted.count:
            return
        confirm(f"Execute {_counted(counted.count, 'run')} again?", yes=yes)
        request = RetryRequest(filter=filters, dry_run=False, expected_count=counted.count)
        _tell(terminal, it.ask.retry_runs(request), "failed runs", as_json=as_json)


def prune_runs(
    context: typer.Context, where: Where, before: str, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Forget the runs that were over before an instant."""
    terminal = terminal_of(context)
    moment = moment_of(before, terminal.now, terminal.zone)
    with desk(where, terminal.clock) as it:
        result = it.ask.prune_runs(PruneRequest(before=moment))
        when = moment_text(moment, terminal.zone)
        if not dry_run:
            confirm(f"Forget {_counted(result.count, 'run')} made before {when}?", yes=yes)
            result = it.ask.prune_runs(PruneRequest(before=moment, dry_run=False))
    if as_json:
        terminal.model(result)
    elif result.applied:
        terminal.say(f"{_counted(result.gone, 'row')} gone, of what was over before {when}.")
    else:
        terminal.say(f"{_counted(result.count, 'run')} would be forgotten, made before {when}.")


def _tell(terminal: Terminal, result: BulkResult, what: str, *, as_json: bool) -> None:
    if as_json:
        terminal.model(result)
    elif not result.applied:
        terminal.say(_found(result, what))
    else:
        terminal.say(f"{result.done:,} done, {len(result.failed):,} failed.")
        terminal.say(*(f"  {each.id}: {each.error}" for each in result.failed))


def _found(result: BulkResult, what: str) -> str:
    if not result.count:
        return f"No {what} are like that."
    more = ", ..." if result.count > _SHOWN else ""
    return f"{_counted(result.count, what.removesuffix('s'))}: {_first(result.sample)}{more}"


def _first(sample: Sequence[str]) -> str:
    return ", ".join(sample[:_SHOWN])


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
