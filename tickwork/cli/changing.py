"""`tickwork pause`, `resume`, `trigger` and `remove`."""

import typer

from tickwork.cli.client import Client, connected
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.model.policies import ScheduleState

__all__ = ["pause_task", "remove_task", "resume_task", "trigger_task"]


def pause_task(
    context: typer.Context, store: str | None, task_id: str, reason: str | None, *, as_json: bool
) -> None:
    """Pause a task."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        client.scheduler.pause_task(task_id, reason=reason)
        _tell(terminal, client, task_id, as_json=as_json)


def resume_task(context: typer.Context, store: str | None, task_id: str, *, as_json: bool) -> None:
    """Resume a task."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        client.scheduler.resume_task(task_id)
        _tell(terminal, client, task_id, as_json=as_json)


def trigger_task(context: typer.Context, store: str | None, task_id: str, *, as_json: bool) -> None:
    """Add a run of a task that is executed at once."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        run = client.scheduler.run_task(task_id).snapshot()
        if as_json:
            terminal.json(run.model_dump(mode="json"))
            return
        terminal.say(f"{task_id} will be executed now, as run {run.id}.")
        now = terminal.now
        if not any(node.expires_at > now for node in client.scheduler.nodes()):
            terminal.say("No scheduler works on this store at present; the run waits for one.")


def remove_task(context: typer.Context, store: str | None, task_id: str, *, as_json: bool) -> None:
    """Remove a task."""
    terminal = terminal_of(context)
    with connected(store, terminal.clock) as client:
        client.scheduler.remove_task(task_id)
        if as_json:
            terminal.json({"removed": task_id})
        else:
            terminal.say(f"{task_id} is removed; its history stays.")


def _tell(terminal: Terminal, client: Client, task_id: str, *, as_json: bool) -> None:
    task = client.scheduler.get_task_info(task_id)
    if as_json:
        terminal.json(task.model_dump(mode="json"))
        return
    said = f"{task_id} is {task.schedule_state.value}"
    if task.schedule_state is ScheduleState.SCHEDULED and task.next_run_time is not None:
        said += f", next at {terminal.moment(task.next_run_time, client.zone_of(task_id))}"
    elif task.paused_reason:
        said += f": {task.paused_reason}"
    terminal.say(f"{said}.")
