"""The commands about tasks."""

from enum import StrEnum
from typing import Annotated

import typer

from tickwork.cli.application import app
from tickwork.cli.options import Json, Limit, TaskId, Tries, Where, Yes, reaching
from tickwork.model.policies import ScheduleState

__all__ = ["BulkAction"]

State = Annotated[ScheduleState | None, typer.Option(help="only those that are")]
Tag = Annotated[str | None, typer.Option(help="only those with this tag")]
Search = Annotated[str | None, typer.Option(help="part of an id or a name")]
Executor = Annotated[str | None, typer.Option(help="only those of an executor")]
Function = Annotated[
    str | None, typer.Option(metavar="MODULE:NAME", help="only those of a function")
]
Kind = Annotated[str | None, typer.Option("--trigger", help="only those with this kind of trigger")]
Late = Annotated[bool, typer.Option("--late", help="only those that should have fired by now")]
Failing = Annotated[bool, typer.Option("--failing", help="only those whose last run failed")]

Schedule = Annotated[
    str | None, typer.Argument(help='"0 8 * * mon-fri", "@daily", "5m", "2026-12-24 18:00"')
]
Every = Annotated[str | None, typer.Option("--schedule", help="as `preview` understands it")]
Trigger = Annotated[
    str | None, typer.Option(metavar="KIND", help="instead of a schedule: interval, cron, ...")
]
With = Annotated[
    str | None, typer.Option("--with", metavar="JSON", help="arguments of the trigger")
]
Zone = Annotated[str | None, typer.Option("--timezone", help="such as Europe/Berlin")]
Args = Annotated[str | None, typer.Option(metavar="JSON", help="""a list, as '["berlin"]'""")]
Kwargs = Annotated[
    str | None, typer.Option(metavar="JSON", help="""by name, as '{"city": "berlin"}'""")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="an option of the task; may be repeated"),
]
Next = Annotated[
    str | None, typer.Option("--next-run", metavar="WHEN", help="the next fire: a moment, or 2h")
]


class BulkAction(StrEnum):
    """What can be done to many tasks."""

    PAUSE = "pause"
    RESUME = "resume"
    RUN = "run"
    REMOVE = "remove"


@app.command()
@reaching
def tasks(
    context: typer.Context,
    *,
    where: Where,
    state: State = None,
    tag: Tag = None,
    search: Search = None,
    executor: Executor = None,
    function: Function = None,
    trigger: Kind = None,
    late: Late = False,
    failing: Failing = False,
    sort: Annotated[
        str, typer.Option(help="id, name, next_run_time or created_at; - in front: descending")
    ] = "next_run_time",
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List tasks."""
    from tickwork.cli.filters import task_filter
    from tickwork.cli.listing import list_tasks

    filters = task_filter(
        state=state,
        tag=tag,
        search=search,
        executor=executor,
        function=function,
        trigger=trigger,
        late=late or None,
        failing=failing or None,
    )
    list_tasks(context, where, filters, sort, limit, as_json=as_json)


@app.command()
@reaching
def show(context: typer.Context, *, where: Where, task_id: TaskId, as_json: Json = False) -> None:
    """Show a task, its next fires and last runs."""
    from tickwork.cli.showing import show_task

    show_task(context, where, task_id, as_json=as_json)


@app.command()
@reaching
def create(
    context: typer.Context,
    *,
    where: Where,
    function: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="what to call")],
    schedule: Schedule = None,
    task_id: Annotated[str | None, typer.Option("--id", help="its own, where it has none")] = None,
    trigger: Trigger = None,
    arguments: With = None,
    timezone: Zone = None,
    args: Args = None,
    kwargs: Kwargs = None,
    settings: Set = None,
    next_run: Next = None,
    paused: Annotated[bool, typer.Option("--paused", help="fires once it is resumed")] = False,
    as_json: Json = False,
) -> None:
    """Add a task.

    Without a schedule the function is called once, now. A service takes the functions that its
    application declares or allows; the one for a store is imported from the working directory.
    """
    from tickwork.cli.making import Wishes, create_task

    wishes = Wishes(schedule, trigger, arguments, timezone, args, kwargs, settings or (), next_run)
    create_task(context, where, function, task_id, wishes, paused=paused, as_json=as_json)


@app.command()
@reaching
def edit(
    context: typer.Context,
    *,
    where: Where,
    task_id: TaskId,
    schedule: Every = None,
    trigger: Trigger = None,
    arguments: With = None,
    timezone: Zone = None,
    args: Args = None,
    kwargs: Kwargs = None,
    settings: Set = None,
    next_run: Next = None,
    dry_run: Tries = False,
    as_json: Json = False,
) -> None:
    """Change a task, and show what differs."""
    from tickwork.cli.making import Wishes, change_task

    wishes = Wishes(schedule, trigger, arguments, timezone, args, kwargs, settings or (), next_run)
    change_task(context, where, task_id, wishes, dry_run=dry_run, as_json=as_json)


@app.command()
@reaching
def reschedule(
    context: typer.Context,
    *,
    where: Where,
    task_id: TaskId,
    schedule: Schedule = None,
    trigger: Trigger = None,
    arguments: With = None,
    timezone: Zone = None,
    dry_run: Tries = False,
    as_json: Json = False,
) -> None:
    """Change when a task fires; counted from now."""
    from tickwork.cli.making import Wishes, reschedule_task

    wishes = Wishes(schedule, trigger, arguments, timezone)
    reschedule_task(context, where, task_id, wishes, dry_run=dry_run, as_json=as_json)


@app.command()
@reaching
def pause(
    context: typer.Context,
    *,
    where: Where,
    task_id: TaskId,
    reason: Annotated[str | None, typer.Option(help="shown with the task")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="goes on then: a moment, or 2h from now")
    ] = None,
    as_json: Json = False,
) -> None:
    """Stop planning a task.

    Runs planned before go on.
    """
    from tickwork.cli.changing import pause_task

    pause_task(context, where, task_id, reason, until, as_json=as_json)


@app.command()
@reaching
def resume(context: typer.Context, *, where: Where, task_id: TaskId, as_json: Json = False) -> None:
    """Go on with a paused task.

    The fire times that it skipped are recorded as one range.
    """
    from tickwork.cli.changing import resume_task

    resume_task(context, where, task_id, as_json=as_json)


@app.command()
@reaching
def trigger(
    context: typer.Context, *, where: Where, task_id: TaskId, as_json: Json = False
) -> None:
    """Execute a task now, beside its schedule.

    A running scheduler that works on the store does it; without one, the run waits.
    """
    from tickwork.cli.changing import trigger_task

    trigger_task(context, where, task_id, as_json=as_json)


@app.command()
@reaching
def remove(
    context: typer.Context,
    *,
    where: Where,
    task_id: TaskId,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a task.

    Its pending runs are cancelled; its history stays.
    """
    from tickwork.cli.changing import remove_task

    remove_task(context, where, task_id, yes=yes, as_json=as_json)


@app.command()
@reaching
def bulk(
    context: typer.Context,
    *,
    where: Where,
    action: Annotated[BulkAction, typer.Argument(help="what to do to them")],
    state: State = None,
    tag: Tag = None,
    search: Search = None,
    executor: Executor = None,
    function: Function = None,
    trigger: Kind = None,
    late: Late = False,
    failing: Failing = False,
    everything: Annotated[bool, typer.Option("--all", help="all tasks, without a filter")] = False,
    reason: Annotated[str | None, typer.Option(help="of a pause")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="of a pause: a moment, or 2h from now")
    ] = None,
    dry_run: Tries = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Pause, resume, run or remove all tasks that a filter finds.

    They are counted first; where their number has changed when it is done, nothing happens.
    """
    from tickwork.cli.filters import bulk_request, task_filter
    from tickwork.cli.many import change_many

    filters = task_filter(
        state=state,
        tag=tag,
        search=search,
        executor=executor,
        function=function,
        trigger=trigger,
        late=late or None,
        failing=failing or None,
    )
    request = bulk_request(context, action, filters, reason, until, dry_run=dry_run)
    change_many(context, where, request, everything=everything, yes=yes, as_json=as_json)
