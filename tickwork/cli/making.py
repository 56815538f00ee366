"""`tickwork create`, `edit` and `reschedule`."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import typer

from tickwork.cli.desk import asked, desk, see_working_directory
from tickwork.cli.moments import moment_of, moment_text, zone_named
from tickwork.cli.options import Where
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.errors import InvalidInputError
from tickwork.model.json_text import to_text
from tickwork.service.models import NewTask, Schedule, TaskChange, TaskPreview

__all__ = ["Wishes", "change_task", "create_task", "reschedule_task"]

_SAID_IN_WORDS = {"trigger", "trigger_alias"}


class Wishes(NamedTuple):
    """What a task is to be like, as it was said; None where nothing was."""

    schedule: str | None = None
    trigger: str | None = None
    arguments: str | None = None
    timezone: str | None = None
    args: str | None = None
    kwargs: str | None = None
    settings: Sequence[str] = ()
    next_run: str | None = None

    def words(self, terminal: Terminal) -> dict[str, Any]:
        """Return what was said, by the names that the service knows it by."""
        known: dict[str, Any] = {"schedule": self.schedule, "trigger": self.trigger}
        known |= {"timezone": self.timezone, "arguments": _data(self.arguments, "--with", dict)}
        known |= {"args": _data(self.args, "--args", list)}
        known |= {"kwargs": _data(self.kwargs, "--kwargs", dict)}
        if self.next_run is not None:
            moment = moment_of(self.next_run, terminal.now, terminal.zone, ahead=True)
            known["next_run_time"] = moment
        said = {name: value for name, value in known.items() if value is not None}
        return said | self._set()

    def _set(self) -> dict[str, Any]:
        """Return the options that were said as NAME=VALUE; null is a value, too."""
        found = {}
        for each in self.settings:
            name, separator, text = each.partition("=")
            if not separator:
                raise InvalidInputError(f"--set {each!r} must look like NAME=VALUE, as retries=3")
            found[name] = _plain(text)
        return found


def create_task(  # noqa: PLR0917  where, what and how
    context: typer.Context,
    where: Where,
    function: str,
    task_id: str | None,
    wishes: Wishes,
    *,
    paused: bool,
    as_json: bool,
) -> None:
    """Add a task."""
    terminal = terminal_of(context)
    see_working_directory()
    identity = {} if task_id is None else {"id": task_id}
    new = asked(NewTask, function=function, paused=paused, **identity, **wishes.words(terminal))
    with desk(where, terminal.clock, allow=function) as it:
        task = it.ask.create_task(new)
        if as_json:
            terminal.model(task)
            return
        terminal.say(f"{task.id} is added: {task.trigger_description}.")
        _say_fires(terminal, it.ask.preview_task(task.id, store=task.store), task.timezone)


def change_task(
    context: typer.Context,
    where: Where,
    task_id: str,
    wishes: Wishes,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change a task, or say what would differ."""
    terminal = terminal_of(context)
    see_working_directory()
    change = asked(TaskChange, **wishes.words(terminal))
    with desk(where, terminal.clock) as it:
        preview = it.ask.change_task(task_id, change, dry_run=dry_run)
        tell_change(terminal, preview, as_json=as_json)


def reschedule_task(
    context: typer.Context,
    where: Where,
    task_id: str,
    wishes: Wishes,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change the schedule of a task, or say what would differ."""
    terminal = terminal_of(context)
    schedule = asked(Schedule, **wishes.words(terminal))
    with desk(where, terminal.clock) as it:
        preview = it.ask.reschedule_task(task_id, schedule, dry_run=dry_run)
        tell_change(terminal, preview, as_json=as_json)


def tell_change(terminal: Terminal, preview: TaskPreview, *, as_json: bool) -> None:
    """Print what a change changes, and the next fires after it."""
    if as_json:
        terminal.model(preview)
        return
    task = preview.task
    changes = [each for each in preview.changes if each.field not in _SAID_IN_WORDS]
    if not changes:
        terminal.say(f"{task.id} stays as it is: nothing differs.")
        return
    terminal.say(f"{task.id} {'is changed' if preview.applied else 'would change'}:")
    wide = max(len(each.field) for each in changes)
    for each in changes:
        before, after = to_text(each.before), to_text(each.after)
        terminal.say(f"  {each.field:<{wide}}  {before} -> {after}")
    _say_fires(terminal, preview.fire_times, task.timezone)


def _say_fires(terminal: Terminal, fires: Sequence[Any], zone_name: str | None) -> None:
    zone = zone_named(zone_name) or terminal.zone
    terminal.say("Next fires:" if fires else "Next fires: none")
    terminal.say(*(f"  {each.astimezone(zone):%a} {moment_text(each, zone)}" for each in fires))


def _data(text: str | None, option: str, kind: type) -> Any:
    if text is None:
        return None
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"{option} is no JSON: {error}") from error
    if not isinstance(data, kind):
        example = "'[\"berlin\"]'" if kind is list else '\'{"city": "berlin"}\''
        raise InvalidInputError(f"{option} takes JSON such as {example}, not {text}")
    return data


def _plain(text: str) -> Any:
    """Return what a value says: JSON, and any other text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
