"""`tickwork pause`, `resume`, `trigger` and `remove`."""

import typer

from tickwork.cli.desk import asked, confirm, desk, said
from tickwork.cli.moments import moment_of, zone_named
from tickwork.cli.options import Where
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.model.policies import ScheduleState
from tickwork.service.models import Pause, TaskView

__all__ = ["pause_task", "remove_task", "resume_task", "trigger_task"]


def pause_task(  # noqa: PLR0917  where, what and how
    context: typer.Context,
    where: Where,
    task_id: str,
    reason: str | None,
    until: str | None,
    *,
    as_json: bool,
) -> None:
    """Pause a task, until an instant if one is named."""
    terminal = terminal_of(context)
    end = None if until is None else moment_of(until, terminal.now, terminal.zone, ahead=True)
    pause = asked(Pause, **said(reason=reason, until=end))
    with desk(where, terminal.clock) as it:
        _tell(terminal, it.ask.pause_task(task_id, pause), as_json=as_json)


def resume_task(context: typer.Context, where: Where, task_id: str, *, as_json: bool) -> None:
    """Resume a task."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        _tell(terminal, it.ask.resume_task(task_id), as_json=as_json)


def trigger_task(context: typer.Context, where: Where, task_id: str, *, as_json: bool) -> None:
    """Add a run of a task that is executed at once."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        run = it.ask.run_task(task_id)
        if as_json:
            terminal.model(run)
            return
        terminal.say(f"{task_id} will be executed now, as run {run.id}.")
        now = terminal.now
        if not any(node.expires_at > now for node in it.ask.list_nodes()):
            terminal.say("No scheduler works on this store at present; the run waits for one.")


def remove_task(
    context: typer.Context, where: Where, task_id: str, *, yes: bool, as_json: bool
) -> None:
    """Remove a task."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        etag = it.ask.get_task(task_id).etag
        confirm(f"Remove the task {task_id}?", yes=yes)
        it.ask.remove_task(task_id, etag=etag)
        if as_json:
            terminal.json({"removed": task_id})
        else:
            terminal.say(f"{task_id} is removed; its history stays.")


def _tell(terminal: Terminal, task: TaskView, *, as_json: bool) -> None:
    if as_json:
        terminal.model(task)
        return
    zone = zone_named(task.timezone)
    said = f"{task.id} is {task.schedule_state.value}"
    if task.paused_until is not None:
        said += f" until {terminal.moment(task.paused_until, zone)}"
    if task.schedule_state is ScheduleState.SCHEDULED and task.next_run_time is not None:
        said += f", next at {terminal.moment(task.next_run_time, zone)}"
    elif task.paused_reason:
        said += f": {task.paused_reason}"
    terminal.say(f"{said}.")
