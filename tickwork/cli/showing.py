"""`tickwork show`."""

from collections.abc import Iterator
from datetime import datetime, tzinfo

import typer

from tickwork.cli.desk import desk
from tickwork.cli.listing import print_runs
from tickwork.cli.moments import seconds_text, zone_named
from tickwork.cli.options import Where
from tickwork.cli.terminal import STATUS_STYLES, Terminal, shortened, terminal_of
from tickwork.model.json_text import to_text
from tickwork.model.policies import ScheduleState
from tickwork.model.snapshots import TaskInfo
from tickwork.service.models import RunFilter, TaskView

__all__ = ["show_task"]

_FIRES = 5
_RUNS = 5


def show_task(context: typer.Context, where: Where, task_id: str, *, as_json: bool) -> None:
    """Print a task, its next fires in its own time zone, and its last runs."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock, hide=False) as it:
        task = it.ask.get_task(task_id)
        fires = it.ask.preview_task(task_id, _FIRES, store=task.store)
        runs = it.ask.list_runs(RunFilter(task=task_id), limit=_RUNS).items
    if as_json:
        terminal.json(
            {
                "task": task.model_dump(mode="json"),
                "next_fire_times": [each.isoformat().replace("+00:00", "Z") for each in fires],
                "runs": [run.model_dump(mode="json") for run in runs],
            }
        )
        return
    zone = zone_named(task.timezone)
    _print_task(terminal, task, zone)
    terminal.say("", f"Next fires: {_no_fires(task)}" if not fires else "Next fires:")
    terminal.say(*(f"  {_with_weekday(terminal, each, zone)}" for each in fires))
    terminal.say("", "Last runs:" if runs else "No runs yet.")
    if runs:
        print_runs(terminal, runs)


def _print_task(terminal: Terminal, task: TaskInfo, zone: tzinfo | None) -> None:
    from rich.text import Text

    lines = [Text(task.id, "bold")]
    for name, value in _details(terminal, task, zone):
        style = "red" if name == "problem" else STATUS_STYLES.get(value, "")
        lines.append(Text.assemble(f"  {name:<14}", (value, style)))
    terminal.say(*lines)


def _details(terminal: Terminal, task: TaskInfo, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    """Yield what is worth saying: policies only where they differ from the defaults."""
    plain = TaskInfo.model_fields
    if task.name != task.id:
        yield "name", shortened(task.name)
    yield "state", task.schedule_state.value
    if isinstance(task, TaskView) and task.paused_by:
        yield "paused by", task.paused_by
    if task.paused_reason:
        yield "because", task.paused_reason
    if task.paused_until is not None:
        yield "until", terminal.moment(task.paused_until, zone)
    if task.problem:
        yield "problem", task.problem
    if task.callable_reference:
        yield "schedule", task.trigger_description
        yield "calls", f"{task.callable_reference}({shortened(_arguments(task))})"
        yield "executor", task.executor
    if task.tags:
        yield "tags", ", ".join(task.tags)
    if task.jitter:
        yield "jitter", f"up to {seconds_text(task.jitter)}"
    if task.misfire_grace_time is not None:
        yield "missed after", seconds_text(task.misfire_grace_time)
    for label, name in (
        ("coalesce", "coalesce"),
        ("instances", "max_instances"),
        ("delivery", "delivery"),
        ("fixed delay", "fixed_delay"),
    ):
        if getattr(task, name) != plain[name].default:
            yield label, str(getattr(task, name))
    if task.active_runs:
        yield "under way", f"{task.active_runs:,}"
    yield "added", terminal.moment(task.created_at, zone)
    if task.updated_at != task.created_at:
        yield "changed", terminal.moment(task.updated_at, zone)


def _arguments(task: TaskInfo) -> str:
    named = (f"{name}={to_text(value)}" for name, value in task.kwargs.items())
    return ", ".join([*(to_text(value) for value in task.args), *named])


def _with_weekday(terminal: Terminal, moment: datetime, zone: tzinfo | None) -> str:
    return f"{moment.astimezone(zone or terminal.zone):%a} {terminal.moment(moment, zone)}"


def _no_fires(task: TaskInfo) -> str:
    if task.schedule_state is ScheduleState.PAUSED:
        return f"none while it is paused; tickwork resume {task.id}"
    if task.schedule_state is ScheduleState.FINISHED:
        return "none, its schedule is over"
    return "none that can be told"
